"""`patchline patch check`: a verdict for people and programs, from any folder, without a trace."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.shell import PATCHLINE, Result, Shell

EDIT = "--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-one\n+two\n"
NEW = "--- /dev/null\n+++ b/new/x.txt\n@@ -0,0 +1 @@\n+x\n"


def check(shell: Shell, patch: str | bytes, *words: str) -> Result:
    data = patch.encode() if isinstance(patch, str) else patch
    (shell.folder / "fix.patch").write_bytes(data)
    return shell.run("patch", "check", "fix.patch", "--repo", "repo", "--base", "main", *words)


def codes(result: Result) -> list[str]:
    return [reason["code"] for reason in result.json["reasons"]]


def test_an_accepted_patch_is_one_document_and_exit_code_0(shell: Shell) -> None:
    result = check(shell, EDIT, "--json")
    assert result.code == 0
    assert result.json == {
        "verdict": "accept",
        "reasons": [],
        "effects": [
            {
                "path": "a.txt",
                "change": "modified",
                "old_path": None,
                "old_mode": "100644",
                "new_mode": "100644",
            }
        ],
    }


@pytest.mark.parametrize(
    ("patch", "words", "expected"),
    [
        (EDIT, ("--scope", "src/**"), ["out_of_scope"]),
        (EDIT, ("--scope", "src/**", "--scope", "a.txt"), []),
        (EDIT, ("--forbid", "*.txt"), ["forbidden_path"]),
        (NEW, ("--scope", "src/**", "--create", "new/**"), []),
        (NEW, ("--create", "new/**"), []),
        (EDIT, ("--create", "new/**"), ["out_of_scope"]),
        ("", (), ["empty"]),
        ("no patch\n", (), ["malformed"]),
        (EDIT.replace("one", "other"), (), ["conflict"]),
        (EDIT.replace("a/a.txt", "/etc/passwd"), (), ["path_escape"]),
    ],
)
def test_the_verdict_follows_scope_and_effects(
    shell: Shell, patch: str, words: tuple[str, ...], expected: list[str]
) -> None:
    result = check(shell, patch, *words, "--json")
    assert codes(result) == expected
    assert result.code == (1 if expected else 0)
    for reason in result.json["reasons"]:
        assert list(reason) == ["code", "message", "path"]


def test_the_policy_of_a_plan_holds(shell: Shell) -> None:
    plan = shell.plan(policy={"forbid": ["a.txt"], "max_bytes": 1000})
    assert codes(check(shell, EDIT, "--plan", plan, "--json")) == ["forbidden_path"]
    assert codes(check(shell, EDIT * 30, "--plan", plan, "--json")) == ["oversize"]
    broken = shell.folder / "broken.yaml"
    broken.write_text("plan: x\n")
    assert check(shell, EDIT, "--plan", str(broken), "--json").code == 2


def test_people_read_the_verdict_the_reasons_and_the_effects(shell: Shell) -> None:
    good = check(shell, EDIT)
    assert good.out.splitlines()[0] == "fix.patch: accepted."
    assert "1 line added, 1 removed" in good.out
    assert [line.split() for line in good.out.splitlines()[-2:]] == [
        ["change", "mode", "path"],
        ["modified", "100644", "a.txt"],
    ]
    bad = check(shell, EDIT, "--scope", "src/**")
    assert bad.code == 1
    assert bad.out.splitlines()[0] == "fix.patch: rejected for 1 reason."
    assert bad.out.splitlines()[1].startswith("  out_of_scope: a.txt")


def test_what_cannot_be_seen_is_shown_as_what_it_is(shell: Shell) -> None:
    tricky = NEW.replace("new/x.txt", "new/x\u202etxt.py")
    result = check(shell, tricky)
    assert result.code == 1
    assert "path_characters" in result.out
    assert "\u202e" not in result.out


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (("none.patch", "--repo", "repo", "--base", "main"), 2, "no such file"),
        ((".", "--repo", "repo", "--base", "main"), 2, "not a regular file"),
        (("a.patch", "--repo", "repo"), 2, "--base"),
        (("a.patch", "--base", "main"), 2, "--repo"),
        (("a.patch", "--repo", "repo", "--base", "main", "--scope", "!x"), 2, "negation"),
        (("a.patch", "--repo", "repo", "--base", "none"), 2, "no revision none"),
        (("a.patch", "--repo", "nowhere", "--base", "main"), 3, "no such folder"),
        (("a.patch", "--repo", ".", "--base", "main"), 3, "not a git repository"),
    ],
)
def test_what_is_wrong_with_the_call_is_said_with_its_exit_code(
    shell: Shell, words: tuple[str, ...], code: int, part: str
) -> None:
    (shell.folder / "a.patch").write_text(EDIT)
    result = shell.run("patch", "check", *words, "--json")
    assert result.code == code, result
    assert part in result.error["message"]


def installed(shell: Shell, stdin: str, *words: str) -> subprocess.CompletedProcess[str]:
    """The installed command, as a shell would start it, with something on standard input."""
    return subprocess.run(
        [PATCHLINE, "patch", "check", "-", "--base", "main", *words],
        cwd=shell.folder,
        env=shell.environment(),
        input=stdin,
        capture_output=True,
        text=True,
    )


def test_a_patch_may_come_on_standard_input_and_nothing_is_left_behind(shell: Shell) -> None:
    before = sorted(str(path) for path in shell.folder.rglob("*"))
    done = installed(shell, EDIT, "--repo", "repo")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("-: accepted.")
    assert sorted(str(path) for path in shell.folder.rglob("*")) == before
    assert not shell.home.root.exists()


def test_an_endless_stream_is_refused(shell: Shell, tmp_path: Path) -> None:
    with Path("/dev/zero").open("rb") as zeros:
        done = subprocess.run(
            [PATCHLINE, "patch", "check", "-", "--base", "main", "--repo", "repo", "--json"],
            cwd=shell.folder,
            env=shell.environment(),
            stdin=zeros,
            capture_output=True,
        )
    assert done.returncode == 1
    assert b'"oversize"' in done.stdout


def test_checking_a_patch_does_not_wait_for_dagster(shell: Shell) -> None:
    (shell.folder / "a.patch").write_text(EDIT)
    words: list[Any] = ["patch", "check", "a.patch", "--repo", "repo", "--base", "main"]
    script = (
        "import sys; from pipeline_defs.cli.main import main; code = main(sys.argv[1:]);"
        "heavy = {'dagster', 'alembic'} & sys.modules.keys();"
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    argv = [sys.executable, "-c", script, *words]
    done = subprocess.run(
        argv, cwd=shell.folder, env=shell.environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
