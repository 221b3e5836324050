"""What tests of the store need: parents on demand, and any entity in any state."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from state.clock_and_ids import ManualClock, SequentialIds
from state.machines import MACHINES
from state.store import StateStore
from tests.new_databases import new_database

REASONS = {"reason": "because", "operator": "ann"}
FLAGS = {"format_ok": True, "scope_ok": True, "constraints_ok": True}
NEEDS: dict[tuple[str, str], dict[str, Any]] = {
    ("task", "running"): {"worker_id": "w1"},
    ("patch_ledger", "validated"): FLAGS,
    ("patch_ledger", "verified"): {"tests_ok": True},
    ("patch_ledger", "quarantined"): {"quarantine_reason": "out of scope"},
    ("patch_ledger", "committed"): {"commit_sha": "c" * 40},
    ("patch_ledger", "rolled_back"): {"rollback_reason": "broke", "operator": "ann"},
    ("patch_ledger", "dropped"): {"operator": "ann"},
    ("test_gate", "PASSED"): {"exit_code": 0},
    ("test_gate", "FAILED"): {"exit_code": 1},
}


class World:
    """A store with what tests of it need: parents on demand, and any entity in any state."""

    def __init__(
        self, store: StateStore, clock: ManualClock, folder: Path, url: str | None = None
    ) -> None:
        self.store = store
        self.clock = clock
        self.folder = folder
        self.url = url or f"sqlite:///{folder / 'pipeline.db'}"
        self.run_id = store.create("run").run_id
        self.ws_id = store.create("workstream", run_id=self.run_id, slug="core").ws_id
        self._tools = 0

    @property
    def address(self) -> tuple[str, str]:
        """Database and event file, for a process that opens the same store."""
        return self.url, str(self.store.events.path)

    def open(self, **how: Any) -> StateStore:
        """Another store on the same database and event file."""
        return StateStore.open(self.url, events=self.store.events.path, **how)

    def make(self, entity_type: str, **columns: Any) -> str:
        """A new entity; says its id."""
        if entity_type == "circuit_breaker" and "tool_id" not in columns:
            self._tools += 1
            columns["tool_id"] = f"tool{self._tools}"
        parents: dict[str, dict[str, Any]] = {
            "workstream": {"run_id": self.run_id},
            "task": {"workstream_id": self.ws_id},
            "patch_ledger": {"workstream_id": self.ws_id},
            "test_gate": {"gate_type": "UNIT", "command": ["true"]},
        }
        row = self.store.create(entity_type, **{**parents.get(entity_type, {}), **columns})
        return getattr(row, MACHINES[entity_type].key)

    def go(self, entity_type: str, entity_id: str, *states: str, **columns: Any) -> Any:
        """Through these states, giving each what it needs; says the last audit row."""
        record = None
        for state in states:
            given = {**NEEDS.get((entity_type, state), {}), **columns}
            record = self.store.transition(entity_type, entity_id, state, **given)
            self.clock.advance(3600)
        return record

    def make_in(self, entity_type: str, state: str, **columns: Any) -> str:
        """A new entity, brought to a state on the shortest legal way."""
        entity_id = self.make(entity_type, **columns)
        self.go(entity_type, entity_id, *shortest_way(entity_type, state))
        return entity_id


def shortest_way(entity_type: str, state: str) -> tuple[str, ...]:
    """The states to pass from the initial one, the wanted one last."""
    machine = MACHINES[entity_type]
    ways: list[tuple[str, ...]] = [()]
    seen = {machine.initial}
    for way in ways:
        here = way[-1] if way else machine.initial
        if here == state:
            return way
        for target in machine.targets(here):
            if target not in seen:
                seen.add(target)
                ways.append((*way, target))
    raise AssertionError(f"{entity_type} never reaches {state}")


@contextmanager
def fresh_world() -> Iterator[World]:
    """A world of its own on SQLite, for one of many examples within a test."""
    with TemporaryDirectory() as name:
        folder, clock = Path(name), ManualClock()
        address = new_database(folder / "pipeline.db")
        with StateStore.open(address, clock=clock, ids=SequentialIds()) as store:
            yield World(store, clock, folder)
