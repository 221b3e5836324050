"""Taking back what has landed, and making up for what failed (design section 5, decisions P2).

`roll_back` is what somebody asks for, however often: it begins, goes on where a process died, or
tries again what has not succeeded. Of its parts `survey` looks and changes nothing, `request`
records what will be done before any of it is, and `carry_out` does it.
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
from resources.rollback.compensation import CompensationPlan, Step
from resources.rollback.compensation_record import NewPlan, plans_of, record_plan
from resources.rollback.compensation_turn import compensation_turn
from resources.rollback.failed_workstreams import FailedWorkstreams
from resources.rollback.plan_execution import PlanExecution
from resources.rollback.report import RollbackFailed, RollbackReport, report_of
from resources.rollback.retrying import retry_of, unfinished_rollback
from resources.rollback.reverting import Blocker
from resources.rollback.survey import RollbackRefused, Survey, Surveyor
from state.errors import PreflightError, UnauthorizedError
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
            PreflightError: somebody else has recorded the same meanwhile.
        """
        entry = survey.entry
        _refuse_nameless(entry.ledger_id, operator)
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
            given=survey.given,
            earlier=survey.earlier,
        )
        return record_plan(self._store, new)

    def unfinished(self, ledger_id: str) -> Any | None:
        """The rollback of an entry that did not come to a good end; see `unfinished_rollback`.

        Raises:
            RollbackRefused: another run's is at it.
        """
        plan = unfinished_rollback(self._store, self._store.get("patch_ledger", ledger_id))
        if plan is None:
            return None
        if plan.outcome is None or self._has_reverted(plan):
            return self._own(plan, ledger_id)
        # Nothing was taken back: one that was asked for another entry says nothing of this one.
        return plan if plan.ledger_id == ledger_id else None

    def _own(self, plan: Any, ledger_id: str) -> Any:
        """A plan of this run; one of another run can be gone on with there only."""
        if plan.run_id == self._run_id:
            return plan
        raise RollbackRefused(
            ledger_id,
            f"the rollback of {plan.ledger_id}, which has not come to a good end, takes it back",
            f"go on with that one: patchline rollback {plan.ledger_id}",
        )

    def unfinished_by(self, revert_ledger_id: str) -> Any | None:
        """The rollback that an entry is the revert of, if it did not come to a good end."""
        plans = plans_of(self._store, run_id=self._run_id)
        asked = [p.ledger_id for p in plans if p.revert_ledger_id == revert_ledger_id]
        return self.unfinished(asked[-1]) if asked and asked[-1] else None

    def instead(self, ledger_id: str, given: CompensationPlan) -> tuple[Step, ...] | None:
        """What a given plan has for the rest of a rollback that failed after the revert, if any."""
        plan = self.unfinished(ledger_id)
        if plan is None or plan.outcome is None or not self._has_reverted(plan):
            return None
        return self._surveyor.other_steps(plan, given)

    def begun(self, ledger_id: str) -> RollbackReport | None:
        """How a rollback stands that is under way, or that failed after the revert; or None."""
        plan = self.unfinished(ledger_id)
        if plan is None or (plan.outcome is not None and not self._has_reverted(plan)):
            return None
        return report_of(self._store, plan.plan_id, None)

    def roll_back(
        self,
        ledger_id: str,
        *,
        reason: str,
        operator: str,
        given: CompensationPlan | None = None,
        cascade: bool = False,
    ) -> RollbackReport:
        """Take an entry back, or go on with a rollback of it that did not come to a good end.

        One that is under way goes on as it was asked for then. After one that failed, what has not
        succeeded is tried again, under the same action keys; what has succeeded is not repeated.

        Args:
            ledger_id: the entry.
            reason: why; may be empty where there is an unfinished rollback, which has its own.
            operator: who asks.
            given: what to do, instead of what the tasks declare or the failed rollback has left.
            cascade: whether later patches of the same lines may be taken back too; those of an
                unfinished rollback may.

        Raises:
            RollbackRefused, PreflightError, UnauthorizedError: see `survey` and `request`.
            RollbackFailed: it did not work; carries the report.
        """
        earlier = self.unfinished(ledger_id)
        blockers: tuple[Blocker, ...] = ()
        if earlier is not None and earlier.outcome is None:
            plan_id = earlier.plan_id
        elif earlier is not None and self._has_reverted(earlier):
            plan_id = self._request_again(earlier, operator, given)
        else:
            survey = self.survey(ledger_id, given)
            why = reason.strip() or (earlier.reason if earlier else "")
            others = {one.ledger_id for one in survey.closure.blockers}
            agreed = cascade or (earlier is not None and others <= {*earlier.entries})
            plan_id = self.request(survey, reason=why, operator=operator, cascade=agreed)
            blockers = survey.closure.blockers
        report = self.carry_out(plan_id, blockers)
        if report.outcome == "failed":
            raise RollbackFailed(report)
        return report

    def _has_reverted(self, plan: Any) -> bool:
        entry = self._store.get("patch_ledger", plan.ledger_id)
        return entry.state == "rolled_back"

    def _request_again(self, failed: Any, operator: str, given: CompensationPlan | None) -> str:
        """Record what is left of a rollback whose revert has landed, or what is done instead."""
        _refuse_nameless(failed.ledger_id, operator)
        new = retry_of(self._store, failed, operator)
        if given is not None:
            steps = self._surveyor.other_steps(failed, given)
            new = replace(new, plan=given, given=True, steps=steps)
        return record_plan(self._store, new)

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
        """Whether a rollback is under way, or a failure is not made up for. Reads only."""
        return bool(self._open()) or self._failed.any_owed(retry=True)

    def finish(self) -> tuple[RollbackReport, ...]:
        """Do everything that a process of the run has left undone. Idempotent.

        Where making up for a failure did not succeed, that is tried again.
        """
        rollbacks = [self.carry_out(plan.plan_id) for plan in self._open() if plan.ledger_id]
        return (*rollbacks, *self._failed.make_up(retry=True))

    def make_up_for_failures(self) -> tuple[RollbackReport, ...]:
        """Do what the completed tasks of failed workstreams declare, each workstream once.

        Idempotent; goes on with what a dead process left. What another process is at is left to
        it.
        """
        return self._failed.make_up()

    def _open(self) -> list[Any]:
        return plans_of(self._store, open_only=True, run_id=self._run_id)


def _refuse_nameless(ledger_id: str, operator: str) -> None:
    if not operator.strip():
        raise UnauthorizedError(f"roll {ledger_id} back")
