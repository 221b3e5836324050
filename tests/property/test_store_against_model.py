"""Whatever is asked of the real store, it answers and does as a plain-Python model of the rules."""

from contextlib import ExitStack
from datetime import datetime

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests import postgres
from tests.property.driving import StoreAgainstModel
from tests.property.reference import Ask, Reference, Row


class OnPostgresql(StoreAgainstModel):
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


TestSqlite = StoreAgainstModel.TestCase
TestSqlite.settings = settings(
    max_examples=12,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
TestPostgresql = OnPostgresql.TestCase
TestPostgresql.settings = settings(TestSqlite.settings, max_examples=8)


class Forgetful(Reference):
    """A model that knows no guards of tasks: the comparison must find that it is wrong."""

    def _guard_task(self, row: Row, ask: Ask, now: datetime) -> bool:
        return True


class StoreAgainstForgetful(StoreAgainstModel):
    reference = Forgetful


def test_a_model_with_other_rules_is_found_out() -> None:
    once = settings(TestSqlite.settings, phases=[Phase.generate], report_multiple_bugs=False)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(StoreAgainstForgetful, settings=once)
