"""Carries out compensation plans of one run with everything that their actions work with."""

import threading
from typing import Any

from resources.commands.processes import DEFAULT_LIMITS, Limits
from resources.git.repository import Repository
from resources.landing.lander import Destination
from resources.landing.required_gates import (
    Origin,
    SpecOfRun,
    origin_of_task,
    origins,
    required_gates,
)
from resources.landing.target_branch import TargetBranch
from resources.landing.turns import LandingTurns
from resources.rollback.compensation_run import CompensationRun, Means
from resources.rollback.report import RollbackReport, report_of
from resources.rollback.sign_of_life import at_work
from resources.sandbox_pool import SandboxPool
from state.home import Home
from state.store import StateStore

NOBODY = "patchline"
"""The operator of what follows from a failure without anybody asking for it."""


class PlanExecution:
    """Carries plans out. Hold the workstream's turn (`resources.rollback.compensation_turn`).

    Args:
        store: the state.
        home: where sandboxes lie.
        repository: the run's repository.
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
        specs: SpecOfRun,
        stop: threading.Event,
        limits: Limits = DEFAULT_LIMITS,
        turns: LandingTurns | None = None,
    ) -> None:
        self._store, self._home, self._repository = store, home, repository
        self._specs, self._stop, self._limits, self._turns = specs, stop, limits, turns

    def carry_out(self, plan: Any) -> RollbackReport:
        """Do what is left to do of a plan, by its row."""
        destination, run_id = self._destination(plan), plan.run_id
        concerned = self._concerned(plan)
        required = required_gates(self._specs, run_id, plan.workstream_id, concerned)
        sandboxes = SandboxPool(self._store, self._repository, self._home.root, run_id)
        means = Means(
            store=self._store,
            repository=self._repository,
            run_id=run_id,
            destination=destination,
            required=required,
            sandboxes=sandboxes,
            stop=self._stop,
            plan_dir=self._specs(run_id).plan_dir,
            limits=self._limits,
            turns=self._turns,
        )
        with at_work(self._store, run_id):
            try:
                CompensationRun(means, plan, plan.operator or NOBODY).run()
            finally:
                sandboxes.close()
        head = self._repository.branch_head(destination.branch)
        return report_of(self._store, plan.plan_id, head)

    def _concerned(self, plan: Any) -> list[Origin]:
        """The tasks whose work is taken back or made up for, that of the newest first."""
        entries = [self._store.get("patch_ledger", key) for key in plan.entries or ()]
        found = [one for entry in entries for one in origins(self._store, entry)]
        for row in self._store.find("compensation_action", plan_id=plan.plan_id):
            if row.task_id is not None:
                found.append(origin_of_task(self._store, self._store.get("task", row.task_id)))
        return list(dict.fromkeys(found))

    def _destination(self, plan: Any) -> Destination:
        # The branch of a workstream that has ended is people's too: it is never put back.
        return TargetBranch(self._repository, plan.document["branch"])
