"""With 100,000 tasks every query finds its rows by an index, and every index serves a query.

What is asked is taken down as the product asks it; then the database says its plan, and does it
under a count. SQLite must do well with statistics and without: nothing of ours ever makes them.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from state.clock_and_ids import ManualClock
from state.queries import list_entities
from state.schema import METADATA, tasks
from state.store import StateStore
from state.transaction import Transaction
from state.upgrade import create
from tests import postgres
from tests.state import big_database
from tests.state.big_database import FIRST_EVENT, LAST_EVENT, key
from tests.state.query_work import counted_steps, queries, work_of
from tests.state.questions import FEW, QUESTIONS, Question

STEPS = 60
"""Steps of SQLite's virtual machine for each row that a question may look at."""

BIG = {"tasks", "state_transitions", "patch_ledger_entries", "test_gates", "patches"}
BIG |= {"task_attempts", "task_dependencies", "task_gates"}


def sqlite_at(path: Path, *, analysed: bool) -> sa.Engine:
    engine = sa.create_engine(f"sqlite:///{path}")
    if not path.exists():
        with engine.begin() as connection:
            create(connection)
        big_database.fill(engine)
    if analysed:
        big_database.analyse(engine)
    return engine


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("big")


@pytest.fixture(scope="module", params=["sqlite", "sqlite-analysed", "postgresql"])
def big(request: pytest.FixtureRequest, folder: Path) -> Iterator[StateStore]:
    """A store on a big database; the event file says that it has it all already."""
    events = folder / f"{request.param}.jsonl"
    ends = (FIRST_EVENT, LAST_EVENT)
    events.write_text("".join(f'{{"event_id":"{one}"}}\n' for one in ends), encoding="utf-8")
    if request.param == "postgresql":
        with postgres.database() as url:
            engine = sa.create_engine(url)
            big_database.fill(engine)
            big_database.analyse(engine)
            engine.dispose()
            with opened(url, events) as store:
                yield store
        return
    path = folder / "pipeline.db"
    sqlite_at(path, analysed=request.param != "sqlite").dispose()
    with opened(f"sqlite:///{path}", events) as store:
        yield store


def opened(url: str, events: Path) -> StateStore:
    clock = ManualClock(datetime(2026, 1, 20, 12, tzinfo=UTC))
    return StateStore.open(url, clock=clock, events=events)


def test_every_query_is_answered_by_an_index(big: StateStore) -> None:
    failures = [
        f"{name}: {problem}"
        for name, question in QUESTIONS.items()
        for problem in problems(big, question)
    ]
    assert not failures, "\n".join(failures)


def problems(store: StateStore, question: Question) -> Iterator[str]:
    with queries(store) as asked:
        question.ask(store)
    engine = store.database.engine
    work = work_of(engine, asked)
    if not asked:
        yield "asked nothing"
    for index in set(question.by) - work.indexes:
        yield f"the index {index} is not used: {asked} {work.plans}"
    if question.rows is None:
        return
    if scanned := (work.scanned & BIG) - {question.walks}:
        yield f"all of {scanned} is looked at: {asked} {work.plans}"
    if (rows := sum(count for name, count in work.rows.items() if name in BIG)) > question.rows:
        yield f"{rows} rows are looked at: {asked} {work.plans}"
    if work.steps > question.rows * STEPS:
        yield f"{work.steps} steps are made: {asked} {work.plans}"


def test_every_index_serves_a_query() -> None:
    indexes = {str(index.name) for table in METADATA.tables.values() for index in table.indexes}

    assert {index for question in QUESTIONS.values() for index in question.by} == indexes


def test_a_task_is_claimed_and_finished_without_looking_at_others(big: StateStore) -> None:
    """The triggers ask too; their questions are in no plan, so it is counted what all of it does.

    A worker of a run may have all tasks of that run looked at: SQLite with statistics does so.
    PostgreSQL counts for each transaction which tables it went through.
    """
    with big.batch() as tx:
        driver: Any = tx.connection.driver
        if big.database.engine.dialect.name == "sqlite":
            with counted_steps(driver) as count:
                finish_a_task(tx)
                assert count() < 2 * FEW * STEPS
        else:
            finish_a_task(tx)
            scanned = "SELECT relname FROM pg_stat_xact_user_tables WHERE seq_scan > 0"
            assert not BIG & {name for (name,) in driver.execute(scanned)}


def finish_a_task(tx: Transaction) -> None:
    worker = tx.create("worker", run_id=key("run", 0)).worker_id
    tx.transition("worker", worker, "idle")
    claim = tx.claim_task(worker)
    assert claim is not None
    entry = tx.create("patch_ledger", task_id=claim.task_id).ledger_id
    gate = tx.create("test_gate", task_id=claim.task_id, gate_type="UNIT", command=["true"]).gate_id
    tx.add_task_gate(claim.task_id, gate, "exit")
    tx.transition("test_gate", gate, "RUNNING")
    tx.transition("test_gate", gate, "PASSED", exit_code=0)
    tx.transition("patch_ledger", entry, "quarantined", quarantine_reason="out of scope")
    tx.transition("task", claim.task_id, "validating", token=claim.token)
    tx.transition("task", claim.task_id, "completed")
    tx.transition("worker", worker, "idle")


def test_the_first_of_many_rows_are_those_that_sorting_all_would_give(big: StateStore) -> None:
    columns = tasks.c
    for states in ([], ["completed"], ["failed", "queued", "failed"], ["no such state"]):
        chosen: dict[str, Any] = {"state": states} if states else {}
        query = sa.select(columns.task_id)
        if states:
            query = query.where(columns.state.in_(states))
        with big.reading() as connection:
            oldest = query.order_by(columns.created_at, columns.task_id).limit(30)
            newest = query.order_by(columns.created_at.desc(), columns.task_id.desc()).limit(30)
            first, last = connection.scalars(oldest).all(), connection.scalars(newest).all()
        assert [row.task_id for row in big.find("task", limit=30, **chosen)] == first
        assert [row["task_id"] for row in list_entities(big, "tasks", chosen, 30)] == last
    assert big.find("task", limit=30, state=None) == []
    assert list_entities(big, "tasks", {"state": None}, 30) == []


def test_any_number_of_keys_may_be_asked_for(big: StateStore) -> None:
    """SQLite takes 32,766 values in one statement, PostgreSQL 65,535."""
    wanted = [key("task", number) for number in range(70_000)]

    found = big.find("task", task_id=[*reversed(wanted), wanted[0], "task_nobody"])
    assert [row.task_id for row in found] == wanted
    few = big.find("task", task_id=wanted[::-1], state=["failed", "cancelled"], limit=5)
    assert [row.task_id for row in few] == [key("task", number) for number in range(11, 16)]
