"""Carries a recorded compensation plan out: action by action, each recorded before and after.

A process may die at any line. Whoever goes on skips what has ended. A command whose end was not
recorded is begun again with the same `PATCHLINE_ACTION` and a higher `PATCHLINE_ACTION_ATTEMPT`:
it runs exactly once unless the machine dies while it runs, and then the key tells it so.
"""

import logging
import threading
from dataclasses import dataclass, replace
from typing import Any

from resources.commands.processes import DEFAULT_LIMITS, Limits
from resources.effects import printable
from resources.gates import GateRunner
from resources.git.command import GitError
from resources.git.repository import Repository
from resources.git.repository_turn import RepositoryLocked
from resources.landing.branches import BranchDisagrees
from resources.landing.busy_checkouts import CheckoutBusy
from resources.landing.lander import Destination
from resources.landing.outcomes import Committed, Conflicted, GatesFailed, NeverStill
from resources.landing.required_gates import RequiredGates
from resources.landing.target_branch import TargetGone
from resources.landing.turns import LandingTurns
from resources.rollback.compensation_command import Command, Ended, expanded, placeholders
from resources.rollback.compensation_record import actions_of, begun_before
from resources.rollback.revert_landing import (
    AlreadyTakenBack,
    Revert,
    RevertConflict,
    RevertLanding,
)
from resources.sandbox_pool import SandboxPool
from state.crash_points import crash_point
from state.errors import StaleTokenError
from state.lost_transactions import redone_when_lost
from state.store import StateStore

log = logging.getLogger(__name__)

ENDED = ("done", "failed", "skipped")
DEFAULT_MESSAGE = "{task} is made up for: {reason}"
CANNOT_LAND = (
    *(CheckoutBusy, TargetGone, RepositoryLocked, BranchDisagrees, GitError),
    *(AlreadyTakenBack, RevertConflict, StaleTokenError),
)
"""What fails a revert with words that a person can act upon."""


@dataclass(frozen=True)
class Means:
    """What the actions of a plan work with.

    Attributes:
        store: the state.
        repository: where the branches are.
        run_id: the run that the plan belongs to.
        destination: the branch that is reverted on, and whose head gates and commands see.
        required: the gates that must pass.
        sandboxes: where gates and commands run.
        stop: set when it must end here.
        plan_dir: the folder of the plan file.
        limits: output and grace of gates and commands.
        turns: of the session, where there is one.
    """

    store: StateStore
    repository: Repository
    run_id: str
    destination: Destination
    required: RequiredGates
    sandboxes: SandboxPool
    stop: threading.Event
    plan_dir: str
    limits: Limits = DEFAULT_LIMITS
    turns: LandingTurns | None = None


class CompensationRun:
    """Carries out one plan.

    Args:
        means: what its actions work with.
        plan: its row.
        operator: who asked, or who is named where nobody did.
    """

    def __init__(self, means: Means, plan: Any, operator: str) -> None:
        self._means, self._store, self._plan = means, means.store, plan
        self._operator = operator
        specs = means.required.specs
        self._gates = GateRunner(means.store, specs, means.limits, means.plan_dir)
        self._reverts = RevertLanding(
            means.store, means.repository, self._gates, means.run_id, means.turns
        )

    def run(self) -> bool:
        """Do what is left to do; whether the plan has ended (else it was told to stop)."""
        for row in actions_of(self._store, self._plan.plan_id):
            if row.status not in ENDED and not self._perform(row):
                return False
            ended = self._store.get("compensation_action", row.action_id)
            if ended.status == "failed" and self._plan.on_failure != "continue":
                break
        crash_point("compensation-actions-ended", "the last action has ended; its plan has not")
        self._end()
        return True

    @redone_when_lost
    def _end(self) -> None:
        """What was not begun is skipped, and the plan says how it went."""
        with self._store.batch() as tx:
            if tx.get("compensation_plan", self._plan.plan_id).outcome is not None:
                return
            rows = tx.find("compensation_action", plan_id=self._plan.plan_id)
            failed = [row for row in rows if row.status == "failed"]
            for row in rows:
                if row.status not in ENDED:
                    tx.update(
                        "compensation_action",
                        row.action_id,
                        status="skipped",
                        reason=f"action {failed[0].position} failed",
                        ended_at=tx.now(),
                    )
            outcome = "failed" if failed else "done"
            tx.update(
                "compensation_plan", self._plan.plan_id, outcome=outcome, completed_at=tx.now()
            )

    def _perform(self, row: Any) -> bool:
        """Try one action until it has ended; False when it was told to stop."""
        retrying = self._plan.on_failure == "retry"
        tries = 1 + (self._plan.document["retries"] if retrying else 0)
        attempt = row.attempts
        while True:
            if self._means.stop.is_set():
                return False
            attempt += 1
            self._begin(row, attempt)
            crash_point("compensation-begun", "an action is recorded as begun; nothing is done")
            ended = self._try(row, attempt)
            if ended.stopped:
                return False
            if ended.good or attempt >= tries:
                break
            log.warning("%s: %s; it is tried again", row.action, printable(ended.reason))
            if self._means.stop.wait(self._plan.document["retry_sec"]):
                return False
        if not ended.recorded:
            crash_point("compensation-done", "an action has ended; nothing says so")
            self._record(row, ended)
        crash_point("compensation-recorded", "an action has ended, and the state says so")
        return True

    def _begin(self, row: Any, attempt: int) -> None:
        columns = {} if row.started_at else {"started_at": self._store.now()}
        self._store.update(
            *("compensation_action", row.action_id), status="running", attempts=attempt, **columns
        )

    def _record(self, row: Any, ended: Ended) -> None:
        self._store.update(
            "compensation_action",
            row.action_id,
            status="done" if ended.good else "failed",
            reason=ended.reason,
            exit_code=ended.exit_code,
            output=ended.output,
            output_bytes=ended.output_bytes,
            ended_at=self._store.now(),
        )

    def _try(self, row: Any, attempt: int) -> Ended:
        match row.action:
            case "git_revert":
                return self._revert(row)
            case "run_gates":
                return self._run_gates(row)
            case "command":
                return self._command(row, attempt)
            case _:
                return self._notify(row)

    # -- git_revert --------------------------------------------------------------------------------

    def _revert(self, row: Any) -> Ended:
        means = self._means
        one = Revert(self._plan, row.action_id, means.destination, means.required, self._operator)
        landed = self._reverts.settle(one, "the process died")
        if landed is not None:
            return Ended(True, landed, recorded=True)
        try:
            with means.sandboxes.lease(None) as sandbox:
                landing = self._reverts.land(one, sandbox, means.stop)
        except CANNOT_LAND as error:
            landed = self._reverts.settle(one, str(error))
            if landed is not None:
                return Ended(True, landed, recorded=True)
            return Ended(False, str(error), exit_code=1)
        match landing:
            case Committed(commit):
                return Ended(True, commit, recorded=True)
            case GatesFailed(reason, feedback):
                return Ended(False, reason, 1, feedback, len(feedback.encode()))
            case Conflicted(reason=reason) | NeverStill(reason=reason):
                return Ended(False, reason, exit_code=1)
            case _:
                self._reverts.discard_newest(one, "interrupted")
                return Ended(False, "interrupted", stopped=True)

    # -- run_gates ---------------------------------------------------------------------------------

    def _run_gates(self, row: Any) -> Ended:
        means = self._means
        names = tuple(row.arguments.get("gates", ())) or means.required.names
        head = means.destination.head()
        tree = means.repository.tree_of(head)
        if self._passed_already(names, tree):
            return Ended(True, f"passed on tree {tree[:12]} as it landed")
        subject = replace(means.required.subject, tree=tree, head=head, role="compensation")
        with means.sandboxes.lease(None) as sandbox:
            verdict = self._gates.judge(names, subject, sandbox, means.stop)
        if verdict.stopped:
            return Ended(False, "interrupted", stopped=True)
        if verdict.passed:
            return Ended(True, f"passed on {head[:12]}: {', '.join(names)}")
        reason = "; ".join(verdict.failures) or "no gate judged it"
        return Ended(False, reason, 1, verdict.feedback, len(verdict.feedback.encode()))

    def _passed_already(self, names: tuple[str, ...], tree: str) -> bool:
        """Whether the gates have just passed on exactly this tree, for the revert itself."""
        ledger_id = self._store.get("compensation_plan", self._plan.plan_id).revert_ledger_id
        if ledger_id is None:
            return False
        rows = self._store.find("test_gate", ledger_id=ledger_id, tree=tree)
        return {row.name for row in rows if row.state == "PASSED"} >= set(names)

    def _command(self, row: Any, attempt: int) -> Ended:
        means, wanted = self._means, Command(row, self._plan.reason, self._means.plan_dir)
        head = means.destination.head()
        with means.sandboxes.lease(None) as sandbox:
            sandbox.reset(head, head)
            number = begun_before(row) + attempt
            return wanted.run(sandbox, means.run_id, number, means.stop, means.limits)

    # -- notify ------------------------------------------------------------------------------------

    @redone_when_lost
    def _notify(self, row: Any) -> Ended:
        """An audit row, which every listener of the event file gets, and a line in the log."""
        ledger_id = row.arguments.get("ledger_id")
        kind, key = "patch_ledger", ledger_id
        if ledger_id is None:
            kind, key = "workstream", self._plan.workstream_id
        values = placeholders(row, self._plan.reason, self._means.plan_dir)
        message = expanded(row.arguments.get("message") or DEFAULT_MESSAGE, values)
        about = {"message": message, "plan_id": self._plan.plan_id, "action_id": row.action_id}
        with self._store.batch() as tx:
            tx.record(kind, key, "compensation_notified", reason=message, metadata=about)
            tx.update(
                "compensation_action",
                row.action_id,
                status="done",
                exit_code=0,
                reason=message,
                ended_at=tx.now(),
            )
        log.warning("%s", printable(message))
        return Ended(True, message, recorded=True)
