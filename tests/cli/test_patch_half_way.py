"""Replacements that a process has left half-way, and small things that `patch` says."""

import os
import pty
import re
import subprocess
from functools import partial
from typing import Any

import pytest

from pipeline_defs.cli.patch_settling import newest_half_replaced
from state.crash_points import arm
from tests.cli.shell import DEADLINE_SEC, PATCHLINE, Shell, patchline, script
from tests.forks import fork

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
MENDED = """\
diff --git a/a.txt b/a.txt
--- a/a.txt
+++ b/a.txt
@@ -1 +1 @@
-one
+good
"""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A run whose task `a/one` was refused by a gate that says nothing, and a copy of all of it."""
    shell = Shell(tmp_path_factory.mktemp("half-way") / "work")
    shell.folder.mkdir()
    shell.make_repo()
    plan = shell.plan(
        tools={"bad": script("echo bad > a.txt")},
        defaults={"max_retries": 0},
        gates={"good": script("grep -q good a.txt"), "ok": script("true")},
        workstreams=[
            {
                "id": "a",
                "gates": ["ok"],
                "tasks": [{"id": "one", "tool": "bad", "gates": ["good"]}],
            }
        ],
    )
    assert shell.run("run", plan).code == 1
    (shell.folder / "mended.patch").write_text(MENDED)
    shell.keep()
    return shell


@pytest.fixture
def shell(template: Shell) -> Shell:
    """The folder as the run has left it: at its own place, which the state knows."""
    template.restore()
    return template


@pytest.fixture
def refused(shell: Shell) -> str:
    """The id of the quarantined ledger entry."""
    return entry(shell, state="quarantined").ledger_id


def entry(shell: Shell, **filters: Any) -> Any:
    with shell.store() as store:
        (found,) = store.find("patch_ledger", **filters)
    return found


def replacing(shell: Shell, refused: str) -> list[str]:
    asked = ("--reason", "the tool was wrong", "--operator", "ann")
    return ["patch", "replace", refused, str(shell.folder / "mended.patch"), *asked]


def dying(point: str, words: list[str]) -> int:
    arm(point)
    return patchline(words)


def killed(shell: Shell, point: str, refused: str) -> None:
    """Replace the patch in a process that dies at a point."""
    program = partial(dying, point, replacing(shell, refused))
    process = fork(program, shell.folder, shell.environment())
    process.join(DEADLINE_SEC)
    assert process.exitcode == -9, f"it did not pass {point}"


def test_resume_finishes_a_replacement_that_had_landed(shell: Shell, refused: str) -> None:
    killed(shell, "branch-moved", refused)
    moved = shell.git("rev-parse", "main")
    run_id = entry(shell, ledger_id=refused).run_id
    with shell.store() as store:
        left = newest_half_replaced(store)
    assert left is not None
    assert left.run_id == run_id
    done = shell.run("resume", run_id, "--json")
    assert done.code == 0, done.err
    (told,) = done.json
    assert (told["replaces"], told["state"], told["commit_sha"]) == (refused, "committed", moved)
    assert shell.git("rev-parse", "main") == moved
    assert shell.git("status", "--porcelain") == ""
    assert entry(shell, ledger_id=refused).state == "dropped"
    with shell.store() as store:
        assert newest_half_replaced(store) is None
    assert shell.run("resume", run_id).code == 2, "nothing is left to do"


def test_resume_drops_a_replacement_that_had_not_landed(shell: Shell, refused: str) -> None:
    killed(shell, "landing-intended", refused)
    before = shell.git("rev-parse", "main")
    done = shell.run("resume", entry(shell, ledger_id=refused).run_id)
    assert done.code == 1
    assert f"The replacement of {refused} had not landed; it is dropped." in done.out
    assert f"patchline patch replace {refused} FILE" in done.out
    assert shell.git("rev-parse", "main") == before
    assert entry(shell, replaces=refused).state == "dropped"
    assert entry(shell, ledger_id=refused).state == "quarantined"
    assert shell.run(*replacing(shell, refused)).code == 0


def test_who_finds_that_a_replacement_has_landed_does_not_give_its_reason(
    shell: Shell, refused: str
) -> None:
    killed(shell, "branch-moved", refused)
    words = ("patch", "drop", refused, "--reason", "not wanted", "--operator", "bob", "--json")
    done = shell.run(*words)
    own = entry(shell, replaces=refused)
    row = entry(shell, ledger_id=refused)
    assert own.state == "committed"
    assert row.drop_reason == f"replaced by {own.ledger_id}: the tool was wrong"
    last = shell.run("patch", "show", refused, "--json").json["history"][-1]
    assert (last["to_state"], last["operator"]) == ("dropped", "ann")
    assert done.code == 1
    assert "is dropped (replaced by" in done.error["message"]


def test_the_reason_of_a_gate_without_output_is_said_once(shell: Shell, refused: str) -> None:
    path = shell.folder / "poor.patch"
    path.write_text(MENDED.replace("good", "poor"))
    done = shell.run("patch", "replace", refused, str(path))
    assert done.code == 1
    assert done.out.count("gate good failed with exit code 1") == 1


@pytest.mark.parametrize(("value", "coloured"), [("1", False), ("", True)])
def test_no_color_is_heeded_on_a_terminal(
    shell: Shell, refused: str, value: str, coloured: bool
) -> None:
    env = shell.environment() | {"NO_COLOR": value, "TERM": "xterm", "COLUMNS": "200"}
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [PATCHLINE, "patch", "show", refused], cwd=shell.folder, env=env, stdout=theirs
    ) as process:
        os.close(theirs)
        page = read_all(ours)
    assert process.returncode == 0
    assert "+bad" in page
    found = {code for code in COLOUR.findall(page) if re.search(r"\[3[0-7]m", code)}
    assert bool(found) == coloured, found


def read_all(terminal: int) -> str:
    """What was printed on a terminal until its other end was closed."""
    parts: list[bytes] = []
    with open(terminal, "rb", buffering=0) as file:
        while part := _read(file):
            parts.append(part)
    return b"".join(parts).decode()


def _read(file: Any) -> bytes:
    try:
        return file.read(65536)
    except OSError:  # Linux says so when the last writer has closed a terminal
        return b""


def test_a_bare_resume_finds_a_replacement_that_was_left_half_way(
    shell: Shell, refused: str
) -> None:
    killed(shell, "branch-moved", refused)
    done = shell.run("resume")
    assert done.code == 0, done.err
    assert f"{refused} is dropped." in done.out
    assert entry(shell, ledger_id=refused).state == "dropped"


def test_another_patch_of_the_task_waits_for_one_that_is_half_way(shell: Shell) -> None:
    plan = shell.plan(
        tools={"bad": script('echo "bad $PATCHLINE_ATTEMPT" > a.txt')},
        defaults={"max_retries": 1, "retry": {"base_sec": 0.01}},
        gates={"good": script("grep -q good a.txt"), "ok": script("true")},
        workstreams=[
            {
                "id": "b",
                "gates": ["ok"],
                "tasks": [{"id": "two", "tool": "bad", "gates": ["good"]}],
            }
        ],
    )
    assert shell.run("run", plan).code == 1
    with shell.store() as store:
        run_id = store.find("run")[-1].run_id
        first, second = store.find("patch_ledger", state="quarantined", run_id=run_id)
    killed(shell, "branch-moved", first.ledger_id)
    refused = shell.run(*replacing(shell, second.ledger_id))
    assert refused.code != 0
    assert f"the replacement of {first.ledger_id}, another patch of the same task" in refused.err
    assert shell.run("resume", run_id).code == 0
    assert entry(shell, ledger_id=first.ledger_id).state == "dropped"
    landed = shell.run(*replacing(shell, second.ledger_id))
    assert "has landed with" in landed.err
