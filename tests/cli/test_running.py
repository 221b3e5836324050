"""`run` and `resume` from the outside: real processes, real signals, real commits."""

import json
import os
import pty
import signal
import subprocess
import sys
import termios
from collections import Counter
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest

from state.machines import MACHINES
from tests.cli.shell import PATCHLINE, Shell, example_plan, processes_in, wait_until, with_tool

LEDGER_ENDED = {"committed", "quarantined", "dropped", "rolled_back"}


def assert_nothing_is_left(shell: Shell) -> None:
    """No process, no sandbox, no busy worker, no half-way ledger row."""
    wait_until(lambda: processes_in(shell.home.root) == [], "every process has ended")
    assert list(shell.home.worktrees.iterdir()) == []
    assert shell.git("worktree", "list", "--porcelain").count("worktree ") == 1
    with shell.store() as store:
        assert {row.state for row in store.find("worker")} <= {"idle", "shutdown"}
        assert {row.state for row in store.find("uet_worker")} <= MACHINES["uet_worker"].terminal
        assert {row.state for row in store.find("patch_ledger")} <= LEDGER_ENDED
        assert store.find("test_gate", state="RUNNING") == []


def assert_committed_once(shell: Shell, document: dict[str, Any]) -> None:
    """Each committed entry's commit is on the target exactly once; each task has exactly one."""
    landed = Counter(shell.git("rev-list", "main").split())
    committed = [patch for patch in document["patches"] if patch["state"] == "committed"]
    assert Counter(patch["task_id"] for patch in committed) == Counter(
        task["task_id"] for task in document["tasks"]
    )
    for patch in committed:
        assert landed[patch["commit_sha"]] == 1


def waiting_plan(shell: Shell) -> str:
    """A plan whose last task of workstream a waits for the file `go`."""
    return shell.plan(workstreams=with_tool(example_plan(shell.folder), "a/two", "wait"))


def wait_for_the_waiting_tool(shell: Shell, patchline: subprocess.Popen[Any]) -> None:
    wait_until(
        lambda: any(
            "time.sleep(300)" in word for words in processes_in(shell.folder) for word in words
        ),
        "the tool is running, with its child",
    )
    database = shell.home.root / "pipeline.db"
    assert database.exists()


def test_a_run_lands_its_commits_and_says_so(shell: Shell) -> None:
    first = shell.git("rev-parse", "main")
    result = shell.run("run", shell.plan(), "--json")
    assert result.code == 0, result.err
    document = result.json
    assert document["state"] == "succeeded"
    assert document["head"] == shell.git("rev-parse", "main") != first
    assert_committed_once(shell, document)
    assert (shell.repo / "a-two.txt").read_text() == "x", "the clean checkout moved forward"
    assert shell.git("status", "--porcelain") == ""
    assert document == shell.run("status", "--json").json
    assert "landed on main" in result.err
    said = shell.run("status").out
    assert "Landed on main" in said
    assert "3 commits, 3 files, +3 -0 lines" in said
    assert f"log --oneline {first[:12]}..main" in said
    ended = shell.run("resume", document["run_id"], "--json")
    assert ended.code == 2
    assert "has ended" in ended.error["message"]
    assert shell.run("resume").code == 2
    asked = {"repo": str(shell.repo), "target": "main", "base": first}
    launched = [run.run_config["ops"]["_start"]["config"] for run in dagster_runs(shell)]
    assert launched == [asked], "running it again from the UI works on the same"
    assert_nothing_is_left(shell)


def test_a_critical_failure_is_exit_1_and_leaves_the_target_alone(shell: Shell) -> None:
    first = shell.git("rev-parse", "main")
    streams = with_tool(example_plan(shell.folder), "a/two", "fail")[:1]
    result = shell.run("run", shell.plan(workstreams=streams))
    assert result.code == 1
    assert shell.git("rev-parse", "main") == first
    assert "a/two" in result.err
    for sentence in ("failed", "Nothing landed", "Committed and not landed: 1 commit", "it broke"):
        assert sentence in result.out + result.err
    document = shell.run("status", "--json").json
    (stream,) = document["workstreams"]
    assert (document["state"], stream["state"]) == ("failed", "failed")
    archive = shell.home.root / "archive" / f"{stream['ws_id']}.json"
    assert str(archive.relative_to(shell.folder)) in result.out
    assert json.loads(archive.read_text())
    assert_nothing_is_left(shell)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_a_stopped_run_is_put_away_and_goes_on_with_resume(
    shell: Shell, number: signal.Signals
) -> None:
    process = shell.start("run", waiting_plan(shell), "--json")
    wait_for_the_waiting_tool(shell, process)
    process.send_signal(number)
    process.send_signal(number)  # people are impatient
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    stopped = json.loads(out)
    assert stopped["state"] == "running"
    assert f"resume {stopped['run_id']}" in err
    two = next(task for task in stopped["tasks"] if task["id"] == "a/two")
    assert (two["state"], two["reason"]) == ("retrying", "interrupted")
    assert_nothing_is_left(shell)

    (shell.folder / "go").touch()
    Path(shell.folder / "plan.yaml").unlink()
    resumed = shell.run("resume", "--json")
    assert resumed.code == 0, resumed.err
    assert resumed.json["run_id"] == stopped["run_id"]
    assert resumed.json["state"] == "succeeded"
    assert_committed_once(shell, resumed.json)
    assert_nothing_is_left(shell)


def test_a_killed_run_is_taken_over_at_once_and_only_then(shell: Shell) -> None:
    process = shell.start("run", waiting_plan(shell))
    wait_for_the_waiting_tool(shell, process)
    refused = shell.run("resume", "--json")
    assert refused.code == 3
    assert "is being executed" in refused.error["message"]
    assert "is running" in shell.run("status").out
    for child in psutil.Process(process.pid).children():
        if "watch_orphans" in " ".join(child.cmdline()) or child.name() == "tail":
            child.kill()  # Dagster's helpers would hold our pipes
    process.kill()
    process.communicate(timeout=60)
    assert "has stopped before its end" in shell.run("status").out

    (shell.folder / "go").touch()
    resumed = shell.run("resume", "--json")
    assert resumed.code == 0, resumed.err
    assert_committed_once(shell, resumed.json)
    two = next(task for task in resumed.json["tasks"] if task["id"] == "a/two")
    assert two["attempts"] == 2
    assert_nothing_is_left(shell)
    assert dagster_statuses(shell) == {"SUCCESS": 1, "CANCELED": 1}


def dagster_statuses(shell: Shell) -> Counter[str]:
    """How Dagster's runs of this home ended."""
    return Counter(run.status.value for run in dagster_runs(shell))


def dagster_runs(shell: Shell) -> list[dg.DagsterRun]:
    """Dagster's runs of this home."""
    with dg.DagsterInstance.from_config(str(shell.home.dagster)) as instance:
        return list(instance.get_runs())


TAKE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    " os.execv(sys.argv[1], sys.argv[1:])"
)


def test_on_a_terminal_there_is_a_board_and_ctrl_c_ends_it_cleanly(shell: Shell) -> None:
    """Typed into a terminal, Ctrl-C reaches every process of the foreground group at once."""
    terminal, other_end = pty.openpty()
    termios.tcsetwinsize(other_end, (24, 80))
    process = subprocess.Popen(
        [sys.executable, "-c", TAKE_TERMINAL, PATCHLINE, "run", waiting_plan(shell)],
        cwd=shell.folder,
        env=shell.environment() | {"TERM": "xterm"},
        stdin=other_end,
        stdout=other_end,
        stderr=other_end,
        start_new_session=True,
    )
    os.close(other_end)
    seen = b""

    def has_shown(text: bytes) -> bool:
        nonlocal seen
        try:
            seen += os.read(terminal, 65536)
        except OSError:  # the process has ended, and with it the other end
            assert text in seen
        return text in seen

    wait_until(lambda: has_shown(b"tool wait"), "the board shows the running tool")
    wait_for_the_waiting_tool(shell, process)
    os.write(terminal, b"\x03")
    wait_until(lambda: has_shown(b"the Dagster UI"), "the summary is there")
    assert process.wait(timeout=60) == 130
    os.close(terminal)
    text = seen.decode()
    assert "Stopping" in text
    assert "Traceback" not in text
    assert "  go on " in text
    assert "\x1b[?25h" in text, "the cursor is visible again"
    assert_nothing_is_left(shell)
