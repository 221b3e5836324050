"""`rollback` from the outside: what it takes, what it says, its exit codes, its crashes."""

import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.shell import PATCHLINE, Shell, script

KEYS = [
    *("plan_id", "ledger_id", "state", "outcome", "target", "head"),
    *("rolled_back", "revert", "actions", "blockers"),
]


def run_plan(shell: Shell, tasks: list[dict[str, Any]], code: int = 0, **more: Any) -> Any:
    """Run a workstream `core` whose tasks have a script each; the run's document."""
    tools = {task["id"]: script(task.pop("script")) for task in tasks}
    for task in tasks:
        task["tool"] = task["id"]
    streams = [{"id": "core", "gates": ["ok"], "tasks": tasks}]
    defaults = {"max_retries": 0}
    path = shell.plan(tools=tools, workstreams=streams, defaults=defaults, **more)
    result = shell.run("run", path, "--json")
    assert result.code == code, result.err
    return result.json


def entries(document: Any) -> dict[str, str]:
    """The committed entry of each task."""
    names = {task["task_id"]: task["id"] for task in document["tasks"]}
    return {
        names[patch["task_id"]]: patch["ledger_id"]
        for patch in document["patches"]
        if patch["state"] == "committed"
    }


def killed(shell: Shell, point: str, *words: str) -> None:
    """Run the installed command, which dies at a point."""
    env = shell.environment() | {"PATCHLINE_CRASH_POINT": point}
    done = subprocess.run(
        [PATCHLINE, *words], cwd=shell.folder, env=env, capture_output=True, text=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


TWO = [
    {"id": "one", "script": "echo one >> a.txt"},
    {"id": "two", "script": "echo two > b.txt", "depends_on": ["one"]},
]


def test_a_patch_is_taken_back_and_everything_is_said(shell: Shell) -> None:
    document = run_plan(shell, [dict(task) for task in TWO])
    one = entries(document)["core/one"]
    head = shell.git("rev-parse", "main")

    rehearsed = shell.run("rollback", one[:20], "--dry-run", "--json")
    assert (rehearsed.code, rehearsed.json["outcome"]) == (0, "dry_run")
    assert list(rehearsed.json) == KEYS
    assert shell.git("rev-parse", "main") == head
    assert shell.run("rollback", one, "--dry-run").out.startswith("On main at")

    without = shell.run("rollback", one, "--json")
    assert (without.code, "--reason" in without.error["message"]) == (2, True)
    assert shell.run("rollback", "led_nothing", "--reason", "x", "--json").code == 2

    (shell.repo / "b.txt").write_text("mine\n")
    dirty = shell.run("rollback", one, "--reason", "bad", "--json")
    assert (dirty.code, "local changes" in dirty.error["message"]) == (3, True)
    shell.git("checkout", "-q", "--", "b.txt")

    commit = next(p["commit_sha"] for p in document["patches"] if p["ledger_id"] == one)
    done = shell.run(*("rollback", commit[:10], "--reason", "bad", "--operator", "ann", "--json"))
    assert done.code == 0, done.err
    assert list(done.json) == KEYS
    assert (done.json["ledger_id"], done.json["state"], done.json["outcome"]) == (
        *(one, "rolled_back", "done"),
    )
    assert done.json["rolled_back"] == [one]
    assert done.json["target"] == "main"
    new = shell.git("rev-parse", "main")
    assert done.json["head"] == done.json["revert"]["commit_sha"] == new
    assert done.json["revert"]["tree"] == shell.git("rev-parse", "main^{tree}")
    assert [one["action"] for one in done.json["actions"]] == ["git_revert", "run_gates"]
    assert (shell.repo / "a.txt").read_text() == "one\n", "what it was before"
    assert (shell.repo / "b.txt").read_text() == "two\n"
    assert "Took 1 patch back on main" in done.err

    proven = shell.run("verify", "main", "--json", "--repo", str(shell.repo))
    assert proven.code == 0, [part for part in proven.json["parts"] if not part["ok"]]
    again = shell.run("rollback", one, "--reason", "bad", "--json")
    assert again.code == 1
    assert "already" in again.error["message"]
    assert shell.run("status", "--json").code == 0
    listed = shell.run("list", "patches", "--json").json
    assert {row["state"] for row in listed} == {"committed", "rolled_back"}


def test_later_patches_are_named_or_taken_back_too(shell: Shell) -> None:
    tasks = [
        {"id": "one", "script": "echo one >> a.txt"},
        {"id": "two", "script": "sed -i s/one/uno/ a.txt", "depends_on": ["one"]},
    ]
    led = entries(run_plan(shell, tasks))
    one, two = led["core/one"], led["core/two"]
    refused = shell.run("rollback", one, "--reason", "bad", "--json")
    assert refused.code == 1
    assert refused.json["outcome"] == "refused"
    (blocker,) = refused.json["blockers"]
    assert (blocker["ledger_id"], blocker["whose"]) == (two, "core/two")
    assert blocker["paths"] == ["a.txt"]
    assert "--cascade" in refused.err
    done = shell.run("rollback", one, "--reason", "bad", "--cascade")
    assert done.code == 0, done.err
    assert "Took 2 patches back" in done.out
    assert "To have it again: patchline rollback led_" in done.out.replace(
        str(PATCHLINE), "patchline"
    )
    assert (shell.repo / "a.txt").read_text() == "one\n"


BAD_PLANS: list[tuple[str, int, str]] = [
    ("actions: [{action: undo}]\n", 1, "cannot be"),
    ("order: sideways\nactions: [{action: notify}]\n", 1, "`order` cannot be"),
    ("on_failure: stop\nretries: 4\nactions: [{action: notify}]\n", 1, "`retries` means nothing"),
    ("action: []\n", 1, "Unknown key `action`"),
    ("order: reverse\nactions:\n  - {action: run_gates, gates: [nope]}\n", 3, "no gate `nope`"),
    ("order: reverse\nactions:\n  - {action: command}\n", 3, "has no command"),
    ("actions: []\n", 1, "is empty"),
    ("", 1, "empty"),
]


def test_a_bad_compensation_plan_is_refused_with_its_place(shell: Shell) -> None:
    one = entries(run_plan(shell, [dict(TWO[0])]))["core/one"]
    head = shell.git("rev-parse", "main")
    path = shell.folder / "undo.yaml"
    for text, line, words in BAD_PLANS:
        path.write_text(text)
        result = shell.run("rollback", one, "--reason", "x", "--plan", str(path), "--json")
        assert result.code == 2, text
        problems = result.json["errors"]
        assert any(words in one["message"] and one["line"] == line for one in problems), problems
        assert all(one["file"] == str(path) for one in problems)
    assert shell.git("rev-parse", "main") == head


def test_a_given_plan_is_carried_out_and_a_failure_is_exit_1(shell: Shell) -> None:
    one = entries(run_plan(shell, [dict(TWO[0])]))["core/one"]
    out = shell.folder / "out"
    plan = {
        "on_failure": "continue",
        "actions": [
            {"action": "command", "command": ["sh", "-c", f"cp a.txt {out}; exit 7"]},
            {"action": "git_revert"},
            {"action": "notify", "message": "{task} is gone"},
        ],
    }
    path = shell.folder / "undo.yaml"
    path.write_text(yaml.safe_dump(plan))
    result = shell.run("rollback", one, "--reason", "x", "--plan", str(path), "--json")
    assert result.code == 1
    assert result.json["outcome"] == "failed"
    assert result.json["rolled_back"] == [one]
    assert [(a["action"], a["status"], a["exit_code"]) for a in result.json["actions"]] == [
        ("command", "failed", 7),
        ("git_revert", "done", 0),
        ("notify", "done", 0),
    ]
    assert out.read_text() == "one\none\n", "before the revert, as the plan says"
    events = shell.run("list", "events", "--json").json
    assert "compensation_notified" in {event["trigger"] for event in events}


@pytest.mark.parametrize("how", ["rollback", "resume"])
def test_a_rollback_that_was_killed_goes_on(shell: Shell, how: str) -> None:
    document = run_plan(shell, [dict(TWO[0])])
    one, landed = entries(document)["core/one"], shell.git("rev-parse", "main")
    killed(shell, "branch-moved", "rollback", one, "--reason", "bad")
    reverted = shell.git("rev-parse", "main")
    assert reverted != landed
    words = ("rollback", one) if how == "rollback" else ("resume", document["run_id"])
    result = shell.run(*words, "--json")
    assert result.code == 0, result.err
    report = result.json if how == "rollback" else result.json[0]
    assert (report["outcome"], report["rolled_back"]) == ("done", [one])
    assert shell.git("rev-parse", "main") == reverted == report["revert"]["commit_sha"]
    assert shell.git("status", "--porcelain") == ""
    assert shell.run("resume", document["run_id"], "--json").code == 2, "nothing is left to do"
    assert list(shell.home.worktrees.iterdir()) == []


def failing(shell: Shell, out: Path) -> list[dict[str, Any]]:
    """A task that is done and has a consequence, and one that fails."""
    undo = {"action": "command", "command": ["sh", "-c", f"echo {{task}} >> {out}"]}
    return [
        {"id": "one", "script": "echo one >> a.txt", "compensation": [undo]},
        {"id": "two", "script": "exit 1", "depends_on": ["one"]},
    ]


def test_a_failed_workstream_is_made_up_for(shell: Shell) -> None:
    out = shell.folder / "out"
    document = run_plan(shell, failing(shell, out), code=1)
    assert document["state"] == "failed"
    assert out.read_text() == "core/one\n"
    assert shell.run("resume", document["run_id"], "--json").code == 2
    assert out.read_text() == "core/one\n", "once"


def test_what_a_killed_run_did_not_make_up_for_is_done_by_resume(shell: Shell) -> None:
    out = shell.folder / "out"
    tasks = failing(shell, out)
    tools = {task["id"]: script(task.pop("script")) for task in tasks}
    for task in tasks:
        task["tool"] = task["id"]
    streams = [{"id": "core", "gates": ["ok"], "tasks": tasks}]
    path = shell.plan(tools=tools, workstreams=streams, defaults={"max_retries": 0})
    killed(shell, "compensation-planned", "run", path)
    assert not out.exists()
    document = shell.run("status", "--json").json
    assert document["state"] == "failed"
    result = shell.run("resume", document["run_id"])
    assert result.code == 0, result.err
    assert out.read_text() == "core/one\n"
    assert "done     command of core/one" in result.out
