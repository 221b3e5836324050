"""Where a patch works: scope, forbidden and protected places."""

from collections.abc import Iterator

from resources.effects import SYMLINK, Change, printable
from resources.globs import Globs
from resources.patch_policy.disguises import components, folded, stands_for
from resources.patch_policy.reasons import Reason, Scope, about
from resources.specs import PolicySpec

PROTECTED_BY_DEFAULT: tuple[str, ...] = (
    *(".github/**", ".gitlab-ci.yml", ".circleci/**", "Jenkinsfile", "azure-pipelines.yml"),
    *(".pre-commit-config.yaml", "**/conftest.py", "**/pytest.ini", "**/tox.ini"),
    *("**/noxfile.py", "**/setup.cfg", "**/setup.py", "**/pyproject.toml", "**/Makefile"),
    *("**/*.mk", "**/package.json", "**/.npmrc", "**/sitecustomize.py", "**/*.pth"),
    *(".gitattributes", ".gitmodules", "**/.env*", "**/.claude/**", "**/.codex/**"),
    *("**/.cursor/**", "**/.aider*", "**/.mcp.json", "**/AGENTS.md", "**/CLAUDE.md"),
    "**/CODEOWNERS",
    # The same things under the other names that tools read them by.
    *("**/GNUmakefile", "**/.pytest.ini", "**/pytest.toml", "**/.pytest.toml"),
    *("**/usercustomize.py", "**/sitecustomize/**", "**/usercustomize/**"),
    *(".husky/**", ".githooks/**", "**/lefthook.yml", "**/.pre-commit-config.yml"),
    *(".gitea/**", ".forgejo/**", ".buildkite/**", ".travis.yml", "bitbucket-pipelines.yml"),
    *("**/.cursorrules", "**/.windsurfrules", "**/GEMINI.md", "**/.gemini/**"),
)
"""Files that decide what a gate runs, what reviewers see, or what an agent is told."""

_PROTECTED = Globs(tuple(pattern.lower() for pattern in PROTECTED_BY_DEFAULT))


def out_of_place(change: Change, scope: Scope, policy: PolicySpec) -> Iterator[Reason]:
    """Paths outside of the task's scope, forbidden ones, and protected ones."""
    may_change, may_create = Globs(scope.change), Globs((*scope.change, *scope.create))
    forbidden, protected = Globs(policy.forbid), Globs(policy.protected)
    allowed = Globs(policy.allow_protected)
    for effect in change.effects:
        for path, created in effect.touched:
            shown = printable(path)
            if not (may_create if created else may_change).matches(path):
                verb = "created" if created else "changed"
                where = ", ".join(scope.change) or "any scope (it may only create)"
                yield about(path, "out_of_scope", f"{shown} is {verb} outside of {where}")
            # A link in the place of a folder stands for everything below it.
            below = (f"{path}/x",) if effect.new_mode == SYMLINK else ()
            if any(map(forbidden.matches, (path, *below))):
                yield about(path, "forbidden_path", f"{shown} is forbidden by policy.forbid")
            guarded = [
                one
                for one in (path, *below)
                if protected.matches(one) or _PROTECTED.matches(_undisguised(one))
            ]
            if any(not allowed.matches(one) for one in guarded):
                text = f"{shown} is protected; policy.allow_protected permits it"
                yield about(path, "protected", text)


def _undisguised(path: str) -> str:
    """The path that a forgiving file system may take it for."""
    return "/".join(stands_for(part) or folded(part) for part in components(path))
