"""Stores with checkpoints, and what somebody may do to them and to their anchors."""

import sqlite3
from contextlib import closing
from pathlib import Path

from resources.audit.anchor import compare
from state.checkpoints import checkpoint
from state.clock_and_ids import IdSource, ManualClock
from state.store import StateStore
from tests.new_databases import new_database
from tests.resources.gitbox import GitBox


def opened(folder: Path, ids: IdSource | None = None) -> StateStore:
    return StateStore.open(new_database(folder / "pipeline.db"), clock=ManualClock(), ids=ids)


def grow(store: StateStore, times: int = 1, name: str = "tool") -> None:
    """So many new events, each with a checkpoint of its own."""
    for _ in range(times):
        count = len(store.find("circuit_breaker"))
        store.create("circuit_breaker", tool_id=f"{name}{count}")
        assert checkpoint(store) is not None


def copied(store: StateStore, folder: Path) -> Path:
    """A copy of the database as it is now, as a backup makes it."""
    folder.mkdir()
    with (
        closing(sqlite3.connect(store.database.name)) as source,
        closing(sqlite3.connect(folder / "pipeline.db")) as target,
    ):
        source.backup(target)
    return folder


def tamper(store: StateStore, *statements: str) -> None:
    """Run SQL on the file as somebody would who took the triggers away first."""
    with closing(sqlite3.connect(store.database.name)) as raw, raw:
        names = raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for statement in (*(f"DROP TRIGGER {name}" for (name,) in names), *statements):
            raw.execute(statement)


def found(store: StateStore, box: GitBox) -> list[tuple[str, int]]:
    return [(one.code, one.checkpoint_id) for one in compare(store, box.repository).problems]


def put(box: GitBox, data: bytes, parent: str | None, name: str = "checkpoint.json") -> str:
    """A commit with one file, as somebody would forge an anchor."""
    blob = box.repository.on_objects("hash-object", "-w", "--stdin", stdin=data).stdout.decode()
    entry = f"100644 blob {blob.strip()}\t{name}\n".encode()
    tree = box.repository.on_objects("mktree", stdin=entry).stdout.decode().strip()
    parents = (parent,) if parent else ()
    return box.repository.commit(tree, parents, "forged\n", "2026-01-01T00:00:00Z")
