"""Taking back what has landed, and making up for what failed (design section 5, decisions P2).

`survey` looks and changes nothing; `request` records what will be done before any of it is;
`carry_out` does it, and goes on where a process died that was doing it.
"""

import threading
from dataclasses import replace
from typing import Any

from resources.commands.processes import DEFAULT_LIMITS, Limits
from resources.execution.recovery import Recovery
from resources.execution.session import RunSession
from resources.git.repository import Repository
from resources.landing.required_gates import SpecOfRun
from resources.landing.turns import LandingTurns
from resources.rollback.compensation import CompensationPlan
from resources.rollback.compensation_record import NewPlan, plans_of, record_plan
from resources.rollback.compensation_turn import compensation_turn
from resources.rollback.failed_workstreams import FailedWorkstreams
from resources.rollback.plan_execution import PlanExecution
from resources.rollback.report import RollbackReport
from resources.rollback.reverting import Blocker
from resources.rollback.survey import Survey, Surveyor
from state.errors import CompensationFailedError, PreflightError, UnauthorizedError
from state.home import Home
from state.store import StateStore


class RollbackManager:
    """Takes back patches of one run, and makes up for its failed workstreams.

    Args:
        store: the state.
        home: where sandboxes lie.
        repository: the run's repository.
        run_id: the run.
        specs: what each run of the store followed.
        stop: set when it must end here.
        limits: output and grace of gates and commands.
        turns: of the session, where there is one.
    """

    def __init__(
        self,
        store: StateStore,
        home: Home,
        repository: Repository,
        run_id: str,
        specs: SpecOfRun,
        stop: threading.Event,
        limits: Limits = DEFAULT_LIMITS,
        turns: LandingTurns | None = None,
    ) -> None:
        self._store, self._home, self._repository = store, home, repository
        self._run_id = run_id
        self._surveyor = Surveyor(store, repository, specs)
        self._execution = PlanExecution(store, home, repository, specs, stop, limits, turns)
        self._failed = FailedWorkstreams(store, home, repository, run_id, specs, self._execution)

    @classmethod
    def of_session(cls, session: RunSession, limits: Limits) -> "RollbackManager":
        """For a run that is being executed."""
        return cls(
            session.store,
            session.home,
            session.repository,
            session.run_id,
            lambda _: session.spec,
            session.interrupted,
            limits,
            session.turns,
        )

    # -- what somebody asks for ------------------------------------------------------------------

    def survey(self, ledger_id: str, given: CompensationPlan | None = None) -> Survey:
        """What taking an entry back means now; see `Surveyor.survey`."""
        return self._surveyor.survey(ledger_id, given)

    def request(self, survey: Survey, *, reason: str, operator: str, cascade: bool = False) -> str:
        """Record a rollback, before any of it is done; says its plan's id.

        Raises:
            RollbackRefused: others must be taken back first and `cascade` is not asked for, or a
                person's commit is in the way.
            UnauthorizedError: there is no operator.
        """
        entry = survey.entry
        if not operator.strip():
            raise UnauthorizedError(f"roll {entry.ledger_id} back")
        survey.refuse_blocked(cascade=cascade)
        new = NewPlan(
            run_id=self._run_id,
            workstream_id=entry.workstream_id,
            entries=[one.ledger_id for one in survey.entries],
            steps=survey.steps,
            plan=survey.plan,
            reason=reason,
            document={
                "task": survey.task,
                "branch": survey.branch,
                "on_target": survey.on_target,
                "head": survey.head,
            },
            ledger_id=entry.ledger_id,
            operator=operator,
        )
        return record_plan(self._store, new)

    def open_rollback(self, ledger_id: str) -> Any | None:
        """The rollback of an entry that is under way, or was when its process died."""
        return next((plan for plan in self._open() if ledger_id in (plan.entries or ())), None)

    def roll_back(
        self,
        ledger_id: str,
        *,
        reason: str,
        operator: str,
        given: CompensationPlan | None = None,
        cascade: bool = False,
    ) -> RollbackReport:
        """Take an entry back, or go on with a rollback of it that is under way.

        Raises:
            RollbackRefused, PreflightError, UnauthorizedError: see `survey` and `request`.
            CompensationFailedError: it did not work; the state says which action.
        """
        under_way = self.open_rollback(ledger_id)
        if under_way is not None:
            plan_id = under_way.plan_id
        else:
            survey = self.survey(ledger_id, given)
            plan_id = self.request(survey, reason=reason, operator=operator, cascade=cascade)
        report = self.carry_out(plan_id)
        if report.outcome == "failed":
            failed = [one for one in report.actions if one["status"] == "failed"]
            told = "; ".join(f"{one['action']}: {one['reason']}" for one in failed)
            raise CompensationFailedError(ledger_id, told)
        return report

    # -- doing it --------------------------------------------------------------------------------

    def take_over(self) -> None:
        """Clean up after processes of the run that are gone: sandboxes, gates, what they started.

        Raises:
            PreflightError: a live process is at work on the run.
        """
        Recovery(self._store, self._home, self._repository, self._run_id).take_over()

    def carry_out(self, plan_id: str, blockers: tuple[Blocker, ...] = ()) -> RollbackReport:
        """Do what is left to do of a recorded plan.

        Args:
            plan_id: the plan.
            blockers: for the report: what was found in the way when it was asked for.

        Raises:
            PreflightError: another process is at it.
        """
        plan = self._store.get("compensation_plan", plan_id)
        with compensation_turn(self._home, plan.workstream_id) as ours:
            if not ours:
                raise PreflightError(
                    f"another process is at work on {plan_id}", hint="wait for it, then ask again"
                )
            return replace(self._execution.carry_out(plan), blockers=blockers)

    # -- going on --------------------------------------------------------------------------------

    def has_unfinished(self) -> bool:
        """Whether a rollback is under way, or a failure has not been made up for. Reads only."""
        return bool(self._open()) or self._failed.any_owed()

    def finish(self) -> tuple[RollbackReport, ...]:
        """Do everything that a process of the run has left undone. Idempotent."""
        rollbacks = [self.carry_out(plan.plan_id) for plan in self._open() if plan.ledger_id]
        return (*rollbacks, *self.make_up_for_failures())

    def make_up_for_failures(self) -> tuple[RollbackReport, ...]:
        """Do what the completed tasks of failed workstreams declare, each workstream once.

        Idempotent; goes on with what a dead process left. What another process is at is left to
        it.
        """
        return self._failed.make_up()

    def _open(self) -> list[Any]:
        return plans_of(self._store, open_only=True, run_id=self._run_id)
