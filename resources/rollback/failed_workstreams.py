"""A failed workstream whose tasks have had consequences: what they declare makes up for those.

Its branch never reached the target, so nothing is reverted unless a task says `git_revert`: then
on the workstream's own branch, which is kept.
"""

from typing import Any

from resources.git.repository import Repository
from resources.landing.required_gates import SpecOfRun, declared, origin_of_task
from resources.rollback.compensation import USUAL, CompensationPlan, Taken, compose
from resources.rollback.compensation_record import NewPlan, plans_of, record_plan
from resources.rollback.compensation_turn import compensation_turn
from resources.rollback.plan_execution import PlanExecution
from resources.rollback.report import RollbackReport
from resources.rollback.retrying import retry_of
from state.home import Home
from state.store import StateStore


class FailedWorkstreams:
    """Makes up for the failed workstreams of one run, each once. Any process may, at any time.

    Args:
        store: the state.
        home: the home, which every process of the installation shares.
        repository: the run's repository.
        run_id: the run.
        specs: what each run of the store followed.
        execution: carries plans out.
    """

    def __init__(
        self,
        store: StateStore,
        home: Home,
        repository: Repository,
        run_id: str,
        specs: SpecOfRun,
        execution: PlanExecution,
    ) -> None:
        self._store, self._home, self._repository = store, home, repository
        self._run_id, self._specs, self._execution = run_id, specs, execution

    def make_up(self, *, retry: bool = False) -> tuple[RollbackReport, ...]:
        """Do what the completed tasks of failed workstreams declare, each workstream once.

        Idempotent; goes on with what a dead process left. What another process is at is left to
        it.

        Args:
            retry: try again what has not succeeded before.
        """
        rows = self._store.find("workstream", run_id=self._run_id, state="failed")
        found = (self._make_up_for(row, retry) for row in rows)
        return tuple(report for report in found if report is not None)

    def any_owed(self, *, retry: bool = False) -> bool:
        """Whether there is something left to do for a failed workstream. Reads only."""
        rows = self._store.find("workstream", run_id=self._run_id, state="failed")
        return any(self._is_owed(row, retry) for row in rows)

    def _is_owed(self, workstream: Any, retry: bool) -> bool:
        earlier = self._plan_after_failure(workstream)
        if earlier is not None:
            return earlier.outcome is None or (retry and earlier.outcome == "failed")
        return bool(self._declared_in(workstream))

    def _make_up_for(self, workstream: Any, retry: bool) -> RollbackReport | None:
        if not self._is_owed(workstream, retry):
            return None
        with compensation_turn(self._home, workstream.ws_id) as ours:
            if not ours or not self._is_owed(workstream, retry):
                return None
            plan_id = self._recorded(workstream)
            return self._execution.carry_out(self._store.get("compensation_plan", plan_id))

    def _recorded(self, workstream: Any) -> str:
        """The plan to carry out: the one under way, or a new one."""
        earlier = self._plan_after_failure(workstream)
        if earlier is None:
            return self._record_failure(workstream)
        if earlier.outcome is None:
            return earlier.plan_id
        return record_plan(self._store, retry_of(self._store, earlier, operator=None))

    def _plan_after_failure(self, workstream: Any) -> Any | None:
        """The newest one."""
        found = plans_of(self._store, workstream_id=workstream.ws_id)
        return next((plan for plan in reversed(found) if plan.ledger_id is None), None)

    def _declared_in(self, workstream: Any) -> list[Taken]:
        """What the completed tasks of a workstream declare, the last completed first."""
        rows = self._store.find("task", workstream_id=workstream.ws_id, state="completed")
        rows.sort(key=lambda task: (task.completed_at, task.task_id), reverse=True)
        found: list[Taken] = []
        for task in rows:
            origin = origin_of_task(self._store, task)
            actions = declared(self._specs, origin)
            landed = self._store.find("patch_ledger", task_id=task.task_id, state="committed")
            entry = landed[-1] if landed else None
            if actions:
                key, commit = (entry.ledger_id, entry.commit_sha) if entry else (None, None)
                found.append(Taken(origin.name, actions, task.task_id, key, commit))
        return found

    def _record_failure(self, workstream: Any) -> str:
        taken = self._declared_in(workstream)
        plan = CompensationPlan(actions=USUAL)
        steps = compose(taken, plan.order, revert=False)
        reverts = [step.arguments.get("ledger_ids", []) for step in steps]
        return record_plan(
            self._store,
            NewPlan(
                run_id=self._run_id,
                workstream_id=workstream.ws_id,
                entries=[key for keys in reverts for key in keys],
                steps=steps,
                plan=plan,
                reason=f"workstream {workstream.slug} failed: {workstream.reason or 'no reason'}",
                document={
                    "task": taken[0].task,
                    "branch": workstream.branch,
                    "on_target": False,
                    "head": self._repository.branch_head(workstream.branch),
                },
            ),
        )
