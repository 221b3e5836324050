"""The judge of effects: may a patch do what it does? Pure functions over an effect set.

Reason codes are pinned (design section 6, "Patch limits"); every reason names its path.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from resources.effects import Effect, Size, printable
from resources.globs import Globs
from resources.specs import PolicySpec

ABSENT = "000000"
REGULAR, EXECUTABLE, SYMLINK, SUBMODULE = "100644", "100755", "120000", "160000"

PROTECTED_BY_DEFAULT: tuple[str, ...] = (
    *(".github/**", ".gitlab-ci.yml", ".circleci/**", "Jenkinsfile", "azure-pipelines.yml"),
    *(".pre-commit-config.yaml", "**/conftest.py", "**/pytest.ini", "**/tox.ini"),
    *("**/noxfile.py", "**/setup.cfg", "**/setup.py", "**/pyproject.toml", "**/Makefile"),
    *("**/*.mk", "**/package.json", "**/.npmrc", "**/sitecustomize.py", "**/*.pth"),
    *(".gitattributes", ".gitmodules", "**/.env*", "**/.claude/**", "**/.codex/**"),
    *("**/.cursor/**", "**/.aider*", "**/.mcp.json", "**/AGENTS.md", "**/CLAUDE.md"),
    "**/CODEOWNERS",
)

TESTS = Globs(
    ("**/test_*", "**/*_test.*", "**/*.test.*", "**/*.spec.*", "**/test/**", "**/tests/**")
)
EMPTY_BLOBS = frozenset(
    {
        "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
        "473a0f4c3be8a93681a267e3b1e9a7dcda1185436fe141f7749120a303721813",
    }
)
"""The empty file's name in SHA-1 and SHA-256 repositories."""


@dataclass(frozen=True)
class Reason:
    """Why a patch is refused: a stable code, a sentence, and the path it is about."""

    code: str
    message: str
    path: str | None = None

    def to_json(self) -> dict[str, str | None]:
        """The pinned spelling: code, message, path."""
        return asdict(self)


@dataclass(frozen=True)
class Scope:
    """Where a patch may change things (`files_scope`) and where it may only create them."""

    change: tuple[str, ...] = ("**",)
    create: tuple[str, ...] = ()


def judge(
    effects: Sequence[Effect], size: Size, diff: bytes, scope: Scope, policy: PolicySpec
) -> tuple[Reason, ...]:
    """Every reason to refuse a patch; none means that it is accepted.

    Args:
        effects: what it does.
        size: its lines and binary files.
        diff: the patch as text.
        scope: where its task may work.
        policy: the plan's limits.
    """
    if not effects:
        return (Reason("empty", "the patch changes nothing"),)
    if unreadable := tuple(_not_text(effects)):
        return unreadable  # the other reasons could not even name these paths
    return (
        *_too_large(effects, diff, policy),
        *_out_of_place(effects, scope, policy),
        *_kinds(effects, policy),
        *_removed_tests(effects, policy),
        *(
            Reason("binary", "a binary file is changed; policy.allow_binary permits it", path)
            for path in size.binaries
            if not policy.allow_binary
        ),
    )


def _not_text(effects: Sequence[Effect]) -> Iterator[Reason]:
    for path in sorted({path for effect in effects for path, _ in _touched(effect)}):
        if (shown := printable(path)) != path:
            yield Reason("path_characters", f"the name {shown} is not valid UTF-8", shown)


def _too_large(effects: Sequence[Effect], diff: bytes, policy: PolicySpec) -> Iterator[Reason]:
    if len(effects) > policy.max_files:
        text = f"{len(effects)} files are changed, policy.max_files is {policy.max_files}"
        yield Reason("oversize", text)
    if len(diff) > policy.max_bytes:
        yield Reason("oversize", f"{len(diff)} bytes, policy.max_bytes is {policy.max_bytes}")
    hunks = diff.count(b"\n@@ ")
    if hunks > policy.max_hunks:
        yield Reason("oversize", f"{hunks} hunks, policy.max_hunks is {policy.max_hunks}")


def _out_of_place(effects: Sequence[Effect], scope: Scope, policy: PolicySpec) -> Iterator[Reason]:
    change, create = Globs(scope.change), Globs((*scope.change, *scope.create))
    forbidden = Globs(policy.forbid)
    protected = Globs((*PROTECTED_BY_DEFAULT, *policy.protected))
    allowed = Globs(policy.allow_protected)
    for effect in effects:
        for path, created in _touched(effect):
            if not (create if created else change).matches(path):
                verb = "created" if created else "changed"
                where = ", ".join(scope.change) or "any scope (it may only create)"
                yield Reason("out_of_scope", f"{path} is {verb} outside of {where}", path)
            if forbidden.matches(path):
                yield Reason("forbidden_path", f"{path} is forbidden by policy.forbid", path)
            if protected.matches(path) and not allowed.matches(path):
                text = f"{path} is protected; policy.allow_protected permits it"
                yield Reason("protected", text, path)


def _touched(effect: Effect) -> tuple[tuple[str, bool], ...]:
    """The paths of an effect, each with whether it comes into being there."""
    if effect.old_path is not None and effect.change == "renamed":
        return ((effect.old_path, False), (effect.path, True))
    return ((effect.path, effect.old_mode == ABSENT or effect.change == "copied"),)


def _kinds(effects: Sequence[Effect], policy: PolicySpec) -> Iterator[Reason]:
    for effect in effects:
        modes = {effect.old_mode, effect.new_mode} - {ABSENT}
        if SUBMODULE in modes:
            yield Reason("submodule", f"{effect.path} is a submodule or nested repo", effect.path)
        elif SYMLINK in modes and not policy.allow_symlinks:
            text = f"{effect.path} is a symbolic link; policy.allow_symlinks permits it"
            yield Reason("symlink", text, effect.path)
        elif _turns_executable(effect) and not policy.allow_exec:
            text = f"{effect.path} changes its executable bit; policy.allow_exec permits it"
            yield Reason("mode", text, effect.path)
        elif not modes <= {REGULAR, EXECUTABLE, SYMLINK}:
            yield Reason("mode", f"{effect.path} has an unknown mode", effect.path)


def _removed_tests(effects: Sequence[Effect], policy: PolicySpec) -> Iterator[Reason]:
    """Tests that are deleted, emptied, or moved to where no runner looks for them."""
    for effect in effects:
        was = effect.old_path or effect.path
        if policy.allow_test_removal or not TESTS.matches(was) or effect.old_mode == ABSENT:
            continue
        moved_away = effect.change == "renamed" and not TESTS.matches(effect.path)
        emptied = effect.new_blob in EMPTY_BLOBS and effect.old_blob not in EMPTY_BLOBS
        if effect.change == "deleted" or moved_away or emptied:
            text = f"test {was} is removed; policy.allow_test_removal permits it"
            yield Reason("deletion", text, was)


def _turns_executable(effect: Effect) -> bool:
    was, is_now = effect.old_mode == EXECUTABLE, effect.new_mode == EXECUTABLE
    return effect.new_mode != ABSENT and was != is_now
