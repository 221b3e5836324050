"""`patchline export events`: what it prints, what it chooses, what it refuses."""

import json
import os
import resource
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from state.event_files import rotated_files
from tests.cli.shell import PATCHLINE, Shell


@pytest.fixture
def ids(shell: Shell) -> dict[str, str]:
    """Two runs with a workstream each; a task of the first that went on."""
    found: dict[str, str] = {}
    with shell.store() as store:
        for name in ("one", "two"):
            found[name] = store.create("run", plan=name).run_id
            found[f"ws {name}"] = store.create("workstream", run_id=found[name]).ws_id
        found["task"] = store.create("task", workstream_id=found["ws one"]).task_id
        store.transition("task", found["task"], "cancelled", reason="ünd \u2028 so", operator="ann")
    return found


LARGE = 1 << 20


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_the_lines_are_those_of_the_event_file(shell: Shell, ids: dict[str, str]) -> None:
    done = shell.run("export", "events")
    assert (done.code, done.err) == (0, "")
    assert done.out == shell.home.events.read_text()
    assert len(lines(done.out)) == 6
    assert shell.run("export", "events", "--format", "jsonl").out == done.out


def test_json_is_one_array_of_the_same_events(shell: Shell, ids: dict[str, str]) -> None:
    plain = lines(shell.run("export", "events").out)
    assert shell.run("export", "events", "--json").json == plain
    nothing = shell.run("export", "events", "--since", "6", "--json")
    assert (nothing.code, nothing.json) == (0, [])


def test_it_reads_the_table_and_not_the_file(shell: Shell, ids: dict[str, str]) -> None:
    whole = shell.run("export", "events").out
    with shell.store() as store:
        small = {"PATCHLINE_EVENTS_MAX_BYTES": "100"}
        store.close()
    shell.home.events.unlink()
    assert shell.run("export", "events", env=small).out == whole
    assert len(rotated_files(shell.home.events)) == 5


def test_events_of_a_run_or_of_an_entity(shell: Shell, ids: dict[str, str]) -> None:
    def keys(*words: str) -> list[str]:
        return [event["entity_id"] for event in lines(shell.run("export", "events", *words).out)]

    task = ids["task"]
    assert keys("--run", ids["one"]) == [ids["one"], ids["ws one"], task, task]
    assert keys("--run", ids["two"]) == [ids["two"], ids["ws two"]]
    assert keys("--entity", f"task/{task}") == [task, task]
    assert keys("--entity", f"workstream/{ids['ws two']}", "--run", ids["one"]) == []


def test_since_an_event_leaves_it_and_the_earlier_ones_out(
    shell: Shell, ids: dict[str, str]
) -> None:
    everything = lines(shell.run("export", "events").out)
    later = shell.run("export", "events", "--since", everything[3]["event_id"])
    assert lines(later.out) == everything[4:]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--since", "yesterday"], "'yesterday' is not an ISO-8601 time"),
        (["--since", "2026-01-02T03:04:05"], "has no time zone"),
        (["--since", "evt_NONE"], "no event 'evt_NONE'"),
        (["--since", "7"], "no transition '7'"),
        (["--since", "9" * 30], "no transition"),
        (["--run", "run_x"], "no run 'run_x'"),
        (["--entity", "task/task_x"], "no task 'task_x'"),
        (["--entity", "patch/patch_x"], "TYPE/ID"),
        (["--entity", "task_x"], "TYPE/ID"),
        (["--entity", "task/"], "TYPE/ID"),
        (["--since", "9" * 5000], "no transition '999999"),
        (["--since", "x" * 5000], "is not an ISO-8601 time"),
        (["--since", "0001-01-01T00:00:00+23:59"], "before the year 1"),
        (["--since", "9999-12-31T23:59:59-23:59"], "after the year 9999"),
        (["--since", "\udcff"], "is not an ISO-8601 time"),
        (["--since", "evt_\udcff"], "no event"),
        (["--run", "run_\udcff"], "no run"),
        (["--run", ""], "empty name"),
        (["--entity", "task/\udcff"], "no task"),
        (["--format", "csv"], "'csv' is not"),
        (["-o", "missing/folder/events.jsonl"], "cannot be written"),
        (["-o", "repo"], "is a directory"),
    ],
)
def test_what_cannot_be_is_bad_input(
    shell: Shell, ids: dict[str, str], words: list[str], said: str
) -> None:
    done = shell.run("export", "events", *words, "--json")
    assert (done.code, done.err) == (2, "")
    assert said in done.error["message"]


def test_for_people_an_error_is_one_line(shell: Shell, ids: dict[str, str]) -> None:
    done = shell.run("export", "events", "--since", "yesterday")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("Error: 'yesterday' is not an ISO-8601 time.")
    assert done.err.count("\n") == 1


def test_a_home_without_a_database_is_not_fit(shell: Shell) -> None:
    done = shell.run("export", "events", "--json")
    assert done.code == 3
    assert "no database" in done.error["message"]
    assert not shell.home.root.exists()


def test_a_limit_that_is_no_number_is_told(shell: Shell, ids: dict[str, str]) -> None:
    done = shell.run("export", "events", env={"PATCHLINE_EVENTS_MAX_BYTES": "64MiB"})
    assert done.code == 3
    assert "PATCHLINE_EVENTS_MAX_BYTES is '64MiB'" in done.err


def test_the_output_file_takes_its_place_when_it_is_whole(
    shell: Shell, ids: dict[str, str]
) -> None:
    whole = shell.run("export", "events").out
    path = shell.folder / "events.jsonl"
    path.write_text("old")
    done = shell.run("export", "events", "-o", "events.jsonl")
    assert (done.code, done.out, done.err) == (0, "", "6 events in events.jsonl.\n")
    assert path.read_text() == whole
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()
    told = shell.run("export", "events", "-o", "events.jsonl", "--run", ids["two"], "--json")
    assert told.json == {"output": "events.jsonl", "events": 2}
    assert len(lines(path.read_text())) == 2
    assert shell.run("export", "events", "-o", "-").out == whole
    assert sorted(one.name for one in shell.folder.iterdir()) == ["events.jsonl", "home", "repo"]


def test_an_output_that_fails_half_way_leaves_the_old_file(
    shell: Shell, ids: dict[str, str]
) -> None:
    path = shell.folder / "events.jsonl"
    path.write_text("old")
    with shell.store() as store:
        worker = store.create("worker").worker_id
        store.transition("worker", worker, "shutdown", reason="x" * LARGE * 2)
    done = subprocess.run(
        [PATCHLINE, "export", "events", "-o", str(path)],
        cwd=shell.folder,
        env=shell.environment(),
        capture_output=True,
        text=True,
        preexec_fn=_small_files,
    )
    assert done.returncode == 2, done.stderr
    assert "File too large" in done.stderr
    assert path.read_text() == "old"
    assert sorted(one.name for one in shell.folder.iterdir()) == ["events.jsonl", "home", "repo"]


def test_a_device_is_written_to_and_not_replaced(shell: Shell, ids: dict[str, str]) -> None:
    assert shell.run("export", "events", "-o", "/dev/null").code == 0
    assert Path("/dev/null").is_char_device()
    assert shell.run("export", "events", "-o", "/dev/stdout").out.count("\n") == 6


def test_a_link_is_followed(shell: Shell, ids: dict[str, str]) -> None:
    (shell.folder / "link").symlink_to("real")
    assert shell.run("export", "events", "-o", "link").code == 0
    assert (shell.folder / "link").is_symlink()
    assert len(lines((shell.folder / "real").read_text())) == 6


def _small_files() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGE, LARGE))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
