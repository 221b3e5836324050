"""What somebody put into the database past the store ends no command in a traceback."""

import sqlite3
from contextlib import closing

import pytest

from tests.cli.shell import Result, Shell

ROWS = [
    "metadata = '{'",
    "metadata = '[1]'",
    "metadata = x'00ff'",
    """metadata = '{"a":1e400}'""",
    "reason = x'00ff'",
    "reason = CAST(x'63ff' AS TEXT)",
    "event_id = CAST(x'63ff' AS TEXT)",
]
ENTITIES = [
    "UPDATE runs SET target = x'00ff', audit_head = 'x'",
    "UPDATE runs SET target = CAST(x'63ff' AS TEXT), audit_head = 'x'",
    "UPDATE runs SET metadata = '{'",
    "UPDATE runs SET metadata = x'00ff'",
]


@pytest.fixture
def home(shell: Shell) -> Shell:
    """A home with a run, a worker, and four rows of history."""
    with shell.store() as store:
        store.create("run", run_id="run_1", plan="small", repo=str(shell.repo), target="main")
        worker = store.create("worker", worker_id="wkr_1").worker_id
        store.transition("worker", worker, "idle")
        store.transition("worker", worker, "shutdown")
    return shell


def tamper(home: Shell, statement: str) -> None:
    """Run SQL as somebody would who took the triggers away first; the event file is lost, too."""
    with closing(sqlite3.connect(home.home.root / "pipeline.db")) as raw, raw:
        names = raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (name,) in names:
            raw.execute(f"DROP TRIGGER {name}")
        assert raw.execute(statement).rowcount == 1
    home.home.events.unlink()


def assert_told(done: Result) -> None:
    """It ends with 1, one line, and what to do."""
    assert done.code == 1, done.err
    assert "Traceback" not in done.err
    last = done.err.splitlines()[-1]
    assert last.startswith("Error: ")
    assert last.endswith("patchline audit verify.")


@pytest.mark.parametrize("change", ROWS)
def test_a_row_that_nobody_can_read_is_named_and_holds_nothing_else_up(
    home: Shell, change: str
) -> None:
    tamper(home, f"UPDATE state_transitions SET {change} WHERE transition_id = 3")
    for words in (("status",), ("list", "workers"), ("list", "runs", "--json")):
        done = home.run(*words)
        assert done.code == 0, done.err
        assert "audit row 3" in done.err
        assert "Traceback" not in done.err
    with home.store() as store:
        worker = store.create("worker").worker_id
        assert store.transition("worker", worker, "idle").transition_id == 6
    for words in (("export", "events"), ("list", "events"), ("db", "repair-events")):
        done = home.run(*words)
        assert_told(done)
        assert "Error: The audit row 3 cannot be read: " in done.err
        assert "audit row 3" in home.run(*words, "--json").error["message"]
    assert home.run("export", "events").out.count("\n") == 2
    assert home.run("export", "events", "--since", "3").out.count("\n") == 3


@pytest.mark.parametrize("statement", ENTITIES)
def test_an_entity_that_nobody_can_read_is_no_traceback(home: Shell, statement: str) -> None:
    tamper(home, statement)
    for words in (("status",), ("list", "runs")):
        plain, document = home.run(*words), home.run(*words, "--json")
        assert plain.code == document.code
        assert "Traceback" not in plain.err + document.err
        if plain.code:
            assert_told(plain)
            assert "audit verify" in document.error["message"]
    assert home.run("export", "events").out.count("\n") == 4


# Event files


def test_damaged_event_files_are_mended_from_the_table(home: Shell) -> None:
    path = home.home.events
    whole = path.read_bytes()
    done = home.run("db", "repair-events")
    assert (done.code, done.out) == (0, f"The event files are as they should be: {path}\n")
    lines = whole.splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], b"x\n", *lines[2:]]))
    done = home.run("db", "repair-events", "--json")
    assert (done.code, done.json) == (0, {"events": str(path), "mended": [str(path)]})
    assert path.read_bytes() == whole
    path.write_bytes(whole.replace(b"idle", b"busy", 1))
    done = home.run("db", "repair-events")
    assert (done.code, done.out) == (0, f"Written anew: {path}\n")
    assert path.read_bytes() == whole


def test_event_files_that_cannot_be_mended_are_told(home: Shell, shell: Shell) -> None:
    path = home.home.events
    path.write_bytes(path.read_bytes().replace(b"idle", b"busy", 1))
    kept = path.with_name(path.name + ".old")
    kept.mkdir()
    (kept / "taken").touch()
    done = home.run("db", "repair-events", "--json")
    assert done.code == 3
    assert "cannot be mended" in done.error["message"]


def test_without_a_database_there_is_nothing_to_mend(shell: Shell) -> None:
    done = shell.run("db", "repair-events", "--json")
    assert done.code == 3
    assert "no database" in done.error["message"]
    assert not shell.home.root.exists()
