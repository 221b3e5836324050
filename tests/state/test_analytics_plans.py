"""Questions that are asked often find their rows by an index and never read all of the audit."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from state.analysis.durations import time_in_state, time_in_states
from state.analysis.failures import failure_patterns
from state.analysis.past import state_at
from state.analysis.stuck import stuck
from state.store import StateStore
from tests.state.world import World

WHOLE_AUDIT = (
    "SCAN state_transitions",
    "SCAN change",
    "SCAN before",
    "(entity_type=?)",
    "Seq Scan on state_transitions",
)
"""What a plan says that reads the whole audit, or all of it that is of one type of entity."""


@contextmanager
def statements(store: StateStore) -> Iterator[list[tuple[str, Any]]]:
    """What is asked of the database meanwhile, and with which values."""
    seen: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, text: str, values: Any, *_: Any) -> None:
        if text.startswith("SELECT"):
            seen.append((text, values))

    event.listen(store.database.engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(store.database.engine, "before_cursor_execute", note)


QUESTIONS: dict[str, Callable[[World], object]] = {
    "one entity's past": lambda world: state_at(
        world.store, world.clock.now(), entity_type="run", entity_id=world.run_id
    ),
    "one run's past": lambda world: state_at(world.store, world.clock.now(), run_id=world.run_id),
    "one entity's time": lambda world: time_in_state(world.store, "run", world.run_id),
    "one run's time": lambda world: time_in_states(world.store, "task", run_id=world.run_id),
    "one run's failures": lambda world: failure_patterns(world.store, run_id=world.run_id),
    "what is stuck": lambda world: stuck(world.store),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_about_few_rows_reads_few(world: World, question: str) -> None:
    for _ in range(3):
        world.make_in("task", "running")
    with statements(world.store) as seen:
        QUESTIONS[question](world)
    assert seen
    for text, values in seen:
        plan = explain(world.store, text, values)
        assert not [step for step in plan if any(bad in step for bad in WHOLE_AUDIT)], (text, plan)


def explain(store: StateStore, text: str, values: Any) -> list[str]:
    """The steps of the database's plan for a statement."""
    engine = store.database.engine
    with engine.connect() as connection, connection.begin():
        if engine.dialect.name == "sqlite":
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values).all()
            return [row[3] for row in rows]
        # So few rows are best read in turn; what matters is that an index can find them.
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        return [row[0] for row in connection.exec_driver_sql(f"EXPLAIN {text}", values)]
