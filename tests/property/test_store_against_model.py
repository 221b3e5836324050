"""Whatever is asked of the real store, it answers and does as a plain-Python model of the rules."""

from contextlib import ExitStack
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy import bindparam, false, select

from state import rules
from state.claims import Claim, claim
from state.entities import KINDS
from state.rules import Request
from state.schema import tasks
from state.statements import KEY
from state.transaction import Transaction
from tests import postgres
from tests.property.directed import DirectedStore
from tests.property.reference import Ask, Reference, Row


class OnPostgresql(DirectedStore):
    """The same on PostgreSQL, a database for each example."""

    def __init__(self) -> None:
        self.resources = ExitStack()
        self.database = self.resources.enter_context(postgres.database())
        super().__init__()

    @property
    def address(self) -> str:
        """The database."""
        return self.database

    def teardown(self) -> None:
        with self.resources:
            super().teardown()


TestSqlite = DirectedStore.TestCase
TestSqlite.settings = settings(
    max_examples=12,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
    # A failure is told as it was found: making it smaller takes minutes.
    phases=[Phase.explicit, Phase.generate],
)
TestPostgresql = OnPostgresql.TestCase
TestPostgresql.settings = settings(TestSqlite.settings, max_examples=8)


class Forgetful(Reference):
    """A model that knows no guards of tasks: the comparison must find that it is wrong."""

    def _guard_task(self, row: Row, ask: Ask, now: datetime) -> bool:
        return True


class StoreAgainstForgetful(DirectedStore):
    reference = Forgetful


ONCE = settings(TestSqlite.settings, phases=[Phase.generate], report_multiple_bugs=False)


def test_a_model_with_other_rules_is_found_out() -> None:
    with pytest.raises(AssertionError):
        run_state_machine_as_test(StoreAgainstForgetful, settings=ONCE)


def unlimited(request: Request) -> dict[str, Any]:
    row = {**request.row, "max_retries": 1_000}
    return TASK_COLUMNS(request._replace(row=row))


def claim_while_draining(tx: Transaction, worker_id: str, **wanted: Any) -> Claim | None:
    tx.locked(KINDS["worker"], worker_id)
    tx._held["worker", worker_id]["drain"] = False
    return claim(tx, worker_id, **wanted)


TASK_COLUMNS = rules._AUTOMATIC["task"]
NOBODY = select(tasks.c.task_id).where(tasks.c.worker_id == bindparam(KEY), false())
MUTANTS: dict[str, tuple[str, object]] = {
    "applies without a limit": ("state.rules.MAX_APPLIES", 1_000),
    "dependencies do not matter": ("state.guards.unmet_dependencies", lambda *_: []),
    "the first of a lineage counts": (
        "state.guards.newest",
        lambda rows: [min(rows, key=lambda row: row.key)],
    ),
    "entry gates do not matter": ("state.guards.unpassed_entry_gates", lambda *_: []),
    "exit gates do not matter": ("state.guards.unpassed_exit_gates", lambda *_: []),
    "a worker holds several tasks": ("state.statements.HELD_TASK", NOBODY),
    "a draining worker gets tasks": ("state.transaction.claim", claim_while_draining),
    "any token will do": ("state.guards.check_token", lambda *_: None),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_store_with_other_rules_is_found_out(
    mutant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(*MUTANTS[mutant])
    with pytest.raises(AssertionError):
        run_state_machine_as_test(DirectedStore, settings=ONCE)


def test_a_store_that_counts_no_retries_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the database still refuses them."""
    monkeypatch.setitem(rules._AUTOMATIC, "task", unlimited)
    with pytest.raises(AssertionError, match="ck_tasks_retry_count"):
        run_state_machine_as_test(DirectedStore, settings=ONCE)
