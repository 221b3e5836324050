"""What a tool leaves in its worktree is judged like a patch file; a run lands nothing of it."""

import pytest

from tests.hostile.base import TEST, lines
from tests.hostile.corpus.contents import pem, token
from tests.pipeline.lab import Lab, Ran, make_repository, stream, task

FILES = {
    "a.txt": "alpha\nbeta\ngamma\ndelta\n",
    "src/app.py": "def double(x):\n    return 2 * x\n",
    "src/util.py": "import os\n",
    "tests/test_app.py": TEST.decode(),
    "long.txt": lines(60).decode(),
    "caf\u00e9.txt": "au lait\n",
}
ALL = ["allow_binary", "allow_exec", "allow_symlinks", "allow_test_removal"]
ALLOWED = {name: True for name in ALL} | {"allow_protected": ["**"]}

# What each tool does, and the codes that its patch is refused for.
REFUSED_ALWAYS = {
    "link-absolute": ("ln -s /etc/passwd l", "symlink"),
    "link-git": ("ln -s ../.git/config src/l", "symlink"),
    "link-over-link": ("ln -s .. up; mkdir d; ln -s ../up/../x d/l", "symlink"),
    "dot-git-ignorable": (
        r"d=$(printf '.g\342\200\214it'); mkdir $d; echo x > $d/config",
        "git_dir",
    ),
    "dot-git-blank": ("mkdir '.git '; echo x > '.git /config'", "git_dir"),
    "drivers": ("echo '*.py filter=evil' > src/.gitattributes", "attributes"),
    "crlf": ("sed -i 's/$/\\r/' long.txt", "eol"),
    "most-deleted": ("rm -r src tests long.txt", "deletion"),
    "collision": ("echo x > A.txt", "path_collision"),
    "normalised": (r"echo x > $(printf 'cafe\314\201.txt')", "path_collision"),
    "reserved": ("echo x > src/aux.c", "windows_name"),
    "terminal": (r"""python3 -c "open('a\x1b[2J','w').write('x')" """, "path_characters"),
    "bidi": (r"echo x > $(printf 'src/\342\200\256yp.exe')", "path_characters"),
    "socket": (
        """rm a.txt; python3 -c "import socket; socket.socket(socket.AF_UNIX).bind('a.txt')" """,
        "mode",
    ),
    "sparse": ("truncate -s 1G huge.bin", "oversize"),
}
REFUSED_BY_DEFAULT = {
    "late-nul": (r"(yes words | head -n 3000; printf '\000') > words.txt", "binary"),
    "gutted": ("echo 'import app' > tests/test_app.py", "deletion"),
    "moved": ("mkdir old; mv tests/test_app.py old/app.txt", "deletion"),
    "agent": ("mkdir -p src/.claude; echo '{}' > src/.claude/settings.json", "protected"),
    "pth": ("echo 'import os' > src/x.pth", "protected"),
}
SECRETS = ("github", "anthropic")


def scripts(table: dict[str, tuple[str, str]]) -> list[dict[str, object]]:
    """A workstream for each tool, none of which must succeed."""
    return [stream(name, task("do", script), critical=False) for name, (script, _) in table.items()]


def assert_refused(ran: Ran, table: dict[str, tuple[str, str]]) -> None:
    """Each is quarantined with its reason, and nothing reaches the target."""
    assert ran.state == "succeeded", ran.summary
    wrong: dict[str, object] = {}
    for name, (_, codes) in table.items():
        found = ran.refusals(f"{name}/do")
        if not found & set(codes.split("|")):
            wrong[name] = found or ran.task(f"{name}/do").reason
        assert ran.workstreams[name] == "failed", name
    assert not wrong


@pytest.fixture
def base(lab: Lab) -> str:
    make_repository(lab.repo, FILES)
    return lab.head()


def test_what_no_plan_can_allow(lab: Lab, base: str) -> None:
    policy = ALLOWED | {"allow_noncritical_failures": True}
    ran = lab.run(*scripts(REFUSED_ALWAYS), policy=policy)
    assert_refused(ran, REFUSED_ALWAYS)
    assert lab.head() == base


def test_what_a_plan_would_have_to_allow(lab: Lab, base: str) -> None:
    table = dict(REFUSED_BY_DEFAULT)
    keys = lab.folder / "keys"
    keys.mkdir()
    for kind in SECRETS:
        (keys / kind).write_text(f"KEY = '{token(kind)}'\n")
        table[f"secret-{kind}"] = (f"cat {keys / kind} >> src/util.py", "secret")
    (keys / "pem").write_text(pem())
    table["secret-pem"] = (f"cp {keys / 'pem'} src/key.txt", "secret")
    ran = lab.run(*scripts(table), policy={"allow_noncritical_failures": True})
    assert_refused(ran, table)
    assert lab.head() == base
    told = str([entry.reasons for entry in ran.ledger()])
    assert not [kind for kind in SECRETS if token(kind) in told], "a reason tells the secret"
