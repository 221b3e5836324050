"""What tests of damaged histories need: histories, and what somebody may do to them by hand."""

from collections.abc import Mapping
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from state.audit import TransitionRecord
from state.canonical import canonical_json
from state.chain import row_hash
from state.checkpoint_verification import verify_checkpoints
from state.checkpoints import Checkpoint, checkpoint
from state.queries import history, transitions_since
from state.raw_history import COLUMNS
from state.trigger_sql import drop_statements
from state.verification import History, Problem, verify_history
from tests.state.world import World

Audit = list[TransitionRecord]


def tamper(world: World, *statements: str | tuple[str, Mapping[str, Any]]) -> None:
    """Run SQL as somebody would who took the triggers away first; each must change a row.

    The test is skipped where PostgreSQL's types refuse a value; SQLite's columns take any.
    """
    engine = sa.create_engine(world.url, poolclass=NullPool)
    try:
        with engine.begin() as connection:
            for statement in drop_statements(engine.dialect.name):
                connection.exec_driver_sql(statement)
            for one in statements:
                if isinstance(one, str):
                    done = connection.exec_driver_sql(one)
                else:
                    done = connection.execute(sa.text(one[0]), one[1])
                assert done.rowcount != 0, one
    except DBAPIError as error:
        if not isinstance(error.orig, psycopg.DataError | psycopg.ProgrammingError):
            raise
        pytest.skip("PostgreSQL's types refuse this value")
    finally:
        engine.dispose()


def finished_task(world: World) -> tuple[str, Audit]:
    """A task that went all the way, beside others; its id and its five audit rows."""
    world.make_in("task", "queued")
    task = world.make("task")
    world.make_in("patch_ledger", "committed")
    world.go("task", task, "queued", "running", "validating", "completed")
    world.make("worker")
    audit = history(world.store, "task", task)
    assert [one.to_state for one in audit] == [
        *("pending", "queued", "running", "validating", "completed")
    ]
    return task, audit


NUMBERS = {"rows_missing", "tail_missing"}
"""What SQLite's numbers say besides when rows were taken out."""


def problems(world: World) -> list[Problem]:
    """What is found, but for what the numbers say."""
    found = verify_history(world.store)
    assert found.count == len(found.problems)
    return [one for one in found.problems if one.code not in NUMBERS]


def only(world: World) -> Problem:
    (problem,) = problems(world)
    return problem


def place(problem: Problem) -> tuple[Any, ...]:
    return (problem.entity_type, problem.entity_id, problem.transition_id, problem.since)


def at(row: TransitionRecord) -> tuple[Any, ...]:
    """The place of a problem that begins with this row."""
    return (row.entity_type, row.entity_id, row.transition_id, row.transitioned_at)


def codes(found: History) -> list[tuple[str, int | None]]:
    return [(one.code, one.transition_id) for one in found.problems if one.code not in NUMBERS]


def forged(row: TransitionRecord, **changes: Any) -> tuple[str, dict[str, Any]]:
    """An INSERT of an audit row like that one, with changes and the hash that goes with them."""
    values = {name: getattr(row, name) for name in COLUMNS if name != "transition_id"}
    values |= {"event_id": "evt_forged", **changes}
    metadata = canonical_json(values["metadata"])
    if "hash" not in changes:
        values["hash"] = row_hash(values, metadata)
    values["metadata"] = metadata
    names = ", ".join(f'"{name}"' for name in values)
    given_ones = ", ".join(f":{name}" for name in values)
    return f"INSERT INTO state_transitions ({names}) VALUES ({given_ones})", values


# Checkpoints


def make_three(world: World) -> list[Checkpoint]:
    """Three checkpoints, over 2, 3 and 4 rows."""
    made: list[Checkpoint | None] = []
    for rows in (0, 3, 4):
        for _ in range(rows):
            world.make("task")
        made.append(checkpoint(world.store))
        world.clock.advance(60)
    assert [one.entries for one in made if one] == [2, 3, 4]
    return [one for one in made if one]


def events(world: World) -> list[str]:
    return [one.event_id for one in transitions_since(world.store)]


def checkpoint_codes(world: World) -> list[tuple[str, int]]:
    return [(one.code, one.checkpoint_id) for one in verify_checkpoints(world.store)]
