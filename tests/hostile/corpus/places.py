"""Where a patch may not go: beyond its scope, protected files, `.git`, out of the repository."""

from collections.abc import Iterator

from tests.hostile.base import BASE
from tests.hostile.cases import EVERYTHING, Case, bad
from tests.hostile.writing import chmod, copy, create, delete, edit, header, plain, rename

SRC = ("src/**",)
IGNORABLE = (
    "\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d"
    "\u202e\u206a\u206b\u206c\u206d\u206e\u206f\ufeff"
)
"""The code points that HFS+ leaves out of a name."""

GIT_DISGUISES = (
    *(".git", ".GIT", ".Git", ".gIT", "git~1", "GIT~1", "Git~1", ".git.", ".git...", ".git "),
    *(".git. .", ".GIT .", "git~1.", "git~1 ", ".git::$INDEX_ALLOCATION", ".git:stream"),
    *(".git::$DATA", "git~1:x", ".git\\hooks", "git~1\\hooks", "x\\.git", "src\\.git\\hooks"),
)
PROTECTED_EXAMPLES = (
    *(".github/dependabot.yml", ".gitlab-ci.yml", ".circleci/config.yml", "Jenkinsfile"),
    *("azure-pipelines.yml", ".pre-commit-config.yaml", "src/conftest.py", "pytest.ini"),
    *("src/tox.ini", "noxfile.py", "setup.cfg", "src/setup.py", "sub/pyproject.toml"),
    *("sub/Makefile", "build/rules.mk", "web/package.json", ".npmrc", "src/sitecustomize.py"),
    *("src/hook.pth", ".env", "src/.env.production", ".claude/settings.json"),
    *("sub/.codex/config.toml", ".cursor/rules", ".aider.conf.yml", ".mcp.json", "AGENTS.md"),
    *(".gitea/workflows/ci.yml", ".travis.yml", "src/.cursorrules", "GEMINI.md", "lefthook.yml"),
    *("src/CLAUDE.md", ".github/CODEOWNERS", "docs/CODEOWNERS", "src/.gitattributes"),
)


def cases() -> Iterator[Case]:
    yield from scope()
    yield from forbidden()
    yield from protected()
    yield from git_dir()
    yield from escapes()


def scope() -> Iterator[Case]:
    inside = edit("src/app.py", "2 * x", "x + x")
    outside = edit("b.txt", "two", "2")
    found = "out_of_scope"
    yield bad("scope-edit", outside, found, "b.txt", scope=SRC)
    yield bad("scope-create", create("new.txt"), found, "new.txt", scope=SRC)
    yield bad("scope-delete", delete("b.txt"), found, "b.txt", scope=SRC)
    yield bad("scope-second-file", inside + outside, found, "b.txt", scope=SRC)
    yield bad("scope-first-file", outside + inside, found, "b.txt", scope=SRC)
    yield bad("scope-rename-in", rename("b.txt", "src/b.txt"), found, "b.txt", scope=SRC)
    yield bad("scope-rename-out", rename("src/app.py", "app.py"), found, "app.py", scope=SRC)
    yield bad("scope-copy-out", copy("src/app.py", "app.py"), found, "app.py", scope=SRC)
    yield bad(
        "scope-mode", chmod("bin/run.sh", "100644"), found, "bin/run.sh", scope=SRC, also="mode"
    )
    yield bad("scope-prefix", create("srcx/a.py"), found, "srcx/a.py", scope=SRC)
    yield bad("scope-file-of-that-name", create("src.py"), found, "src.py", scope=SRC)
    yield bad("scope-deeper", create("sub/src/a.py"), found, "sub/src/a.py", scope=SRC)
    yield bad(
        *("scope-case", create("SRC/new.py"), found, "SRC/new.py"),
        scope=SRC, also="path_collision",
    )  # fmt: skip
    yield bad("scope-star-stops", edit("src/deep/er/mod.py", "1", "2"), found, scope=("src/*.py",))
    yield bad("scope-anchored", create("docs/a.txt"), found, "docs/a.txt", scope=("/a.txt",))
    new = {"scope": SRC, "create": ("docs/**",)}
    guide = "docs/guide.md"
    yield bad("scope-create-only-edit", edit(guide, "Guide 1", "x"), found, guide, **new)
    yield bad("scope-create-only-delete", delete(guide), found, guide, **new)
    yield bad("scope-create-only-from", rename(guide, "docs/b.md"), found, guide, **new)
    yield bad("scope-nothing", inside, found, "src/app.py", scope=(), create=("docs/**",))


def forbidden() -> Iterator[Case]:
    policy = {"policy": {"forbid": ["*.sql", "docs/private/**"]}}
    found = "forbidden_path"
    yield bad(
        "forbid-edit", edit("query.sql", "select 1", "select 3"), found, "query.sql", **policy
    )
    yield bad("forbid-create", create("docs/private/x"), found, "docs/private/x", **policy)
    yield bad("forbid-delete", delete("query.sql"), found, "query.sql", **policy)
    yield bad("forbid-rename-from", rename("query.sql", "q.txt"), found, "query.sql", **policy)
    yield bad("forbid-rename-to", rename("b.txt", "src/b.sql"), found, "src/b.sql", **policy)
    yield bad("forbid-copy-to", copy("b.txt", "b.sql"), found, "b.sql", **policy)
    allowed = {"policy": {**EVERYTHING, "forbid": ["Makefile"]}}
    yield bad("forbid-beats-allowed", delete("Makefile"), found, "Makefile", **allowed)


def protected() -> Iterator[Case]:
    for path in PROTECTED_EXAMPLES:
        yield bad(f"protected-new-{path}", create(path, "x: 1\n"), "protected", path)
    for path in ("Makefile", "pyproject.toml", "package.json", ".github/workflows/ci.yml"):
        word = BASE[path].data.split()[0]
        patch = edit(path, word, b"other" + word)
        yield bad(f"protected-edit-{path}", patch, "protected", path)
    yield bad("protected-delete", delete("Makefile"), "protected", "Makefile")
    yield bad("protected-rename-from", rename("Makefile", "old.txt"), "protected", "Makefile")
    yield bad("protected-rename-to", rename("a.txt", "sub/Makefile"), "protected", "sub/Makefile")
    test = "tests/conftest.py"
    yield bad(
        "protected-conftest", edit(test, "import", "from os import *; import"), "protected", test
    )
    custom = {"policy": {"protected": ["settings.py"]}}
    patch = edit("settings.py", "False", "True")
    yield bad("protected-by-plan", patch, "protected", "settings.py", **custom)
    other = {"policy": {"allow_protected": ["docs/Makefile"]}}
    yield bad("protected-other-allowed", delete("Makefile"), "protected", "Makefile", **other)


def git_dir() -> Iterator[Case]:
    disguises = list(GIT_DISGUISES)
    for place, ignored in enumerate(IGNORABLE):
        at = place % 5
        disguises.append(".git"[:at] + ignored + ".git"[at:])
    disguises += [".git"[:at] + "\u200c" + ".git"[at:] for at in range(5)]
    disguises += ["\u200c.\u200dG\ufeffi\u202et\u206f", ".G\u200cIT"]
    also = {"also": "path_characters windows_name path_escape", "policy": EVERYTHING}
    for number, name in enumerate(disguises):
        path = (f"{name}/config", f"src/{name}/hooks/pre-commit", f"src/{name}")[number % 3]
        shown = name.encode("ascii", "backslashreplace").decode()
        yield bad(f"git-{number}-{shown}", create(path, "[core]\n"), "git_dir", path, **also)
    yield bad("git-itself", create(".git", "gitdir: /tmp/x\n"), "git_dir", ".git", **also)
    yield bad("git-edit", plain("a/.git/config", "b/.git/config", ONE), "git_dir", **also)
    yield bad("git-rename-to", rename("a.txt", ".git/hooks/x"), "git_dir", ".git/hooks/x", **also)
    yield bad("git-copy-to", copy("a.txt", "src/.GIT/x"), "git_dir", "src/.GIT/x", **also)
    yield bad("git-link", create(".git", "elsewhere", "120000"), "git_dir", ".git", **also)
    yield bad("git-attributes", create(".git/info/attributes"), "git_dir", **also)


ONE = b"@@ -1 +1 @@\n-alpha\n+omega\n"
NEW = b"@@ -0,0 +1 @@\n+new\n"


def escapes() -> Iterator[Case]:
    names = (
        *("../outside.txt", "src/../../outside.txt", "src/..", "..", "../../etc/passwd"),
        *("/etc/cron.d/x", "//server/share/x", "C:/Windows/x", "c:\\Windows\\x", "C:x.txt"),
        *("\\\\server\\share\\x", "..\\outside.txt", "src\\..\\..\\outside.txt"),
    )
    also = {"also": "windows_name path_characters", "policy": EVERYTHING}
    for number, path in enumerate(names):
        # An absolute name may be told with its prefix: `b//etc/passwd`.
        told = None if path.startswith("/") else path
        yield bad(f"escape-{number}-{path}", create(path), "path_escape", told, **also)
    # A dot stands for no name; what git makes of it is nobody's intention.
    for path in ("./x.txt", "src/./x.txt", "src/../x.txt", "src//x.txt"):
        code = "path_escape|malformed|declared_mismatch"
        yield bad(f"escape-dots-{path}", create(path), code, None, **also)
    absolute = header("a.txt", "a.txt") + plain("/etc/passwd", "/etc/passwd", ONE)
    yield bad("escape-absolute-edit", absolute, "path_escape|declared_mismatch|malformed")
    hidden = plain("/dev/null", "/etc/cron.d/x", NEW)
    yield bad("escape-absolute-plain", hidden, "path_escape|declared_mismatch|malformed")
    up = plain("/dev/null", "../outside.txt", NEW)
    yield bad("escape-up-plain", up, "path_escape|declared_mismatch|malformed")
    far = plain("/dev/null", "b/../../outside.txt", NEW)
    yield bad("escape-far-plain", far, "path_escape")
    yield bad("escape-rename-to", rename("a.txt", "../a.txt"), "path_escape", "../a.txt")
    away = copy("a.txt", "/tmp/a.txt")
    yield bad("escape-copy-to", away, "path_escape|declared_mismatch", "/tmp/a.txt")
    yield bad("escape-delete", plain("a/../x", "/dev/null", b"@@ -1 +0,0 @@\n-x\n"), "path_escape")
