"""A home with a history, and what somebody may do to it by hand."""

import sqlite3
from contextlib import closing
from pathlib import Path

from state.queries import transitions_since
from state.store import StateStore
from tests.cli.shell import Shell


def audited(shell: Shell) -> Shell:
    """A home whose history has five rows, of a run in the shell's repository."""
    with shell.store() as store:
        store.create("run", run_id="run_1", repo=str(shell.repo))
        work(store, "bench")
    return shell


def work(store: StateStore, tool: str) -> None:
    """Four rows more for a breaker and a worker."""
    store.create("circuit_breaker", tool_id=tool)
    worker = store.create("worker", worker_id=f"wkr_{tool}").worker_id
    store.transition("worker", worker, "idle")
    store.transition("circuit_breaker", tool, "OPEN", reason="it failed too often")


def last_event(shell: Shell) -> str:
    with shell.store() as store:
        return transitions_since(store)[-1].event_id


def database(shell: Shell) -> Path:
    return shell.home.root / "pipeline.db"


def tamper(shell: Shell, *statements: str) -> None:
    """Run SQL as somebody would who took the triggers away first."""
    with closing(sqlite3.connect(database(shell))) as raw, raw:
        names = raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (name,) in names:
            raw.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            assert raw.execute(statement).rowcount != 0, statement
