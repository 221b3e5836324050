"""A rollback is a patch of its own: recorded, judged and landed as every other (ADR 13)."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from resources.effects import Change, examine
from resources.gates import GateRunner
from resources.git.commit_text import REVERTS
from resources.git.merging import Conflict
from resources.git.repository import Repository
from resources.landing.candidates import Candidate, carrier_of, patch_candidate
from resources.landing.lander import Destination, LandingOrder, PatchLander
from resources.landing.moving import is_on
from resources.landing.outcomes import Landing
from resources.landing.required_gates import RequiredGates
from resources.landing.target_branch import TargetBranch
from resources.landing.turns import LandingTurns
from resources.patches.ledger import UNLANDED, end_unlanded
from resources.patches.records import Artifact, Patch, accept, keep_patch
from resources.rollback.reverting import Stuck, revert
from resources.worktrees import Sandbox
from state.crash_points import crash_point
from state.errors import PatchlineError
from state.lost_transactions import redone_when_lost
from state.store import StateStore
from state.transaction import Transaction

ORIGIN = "rollback"
"""What `patches.origin` says of a patch that takes others back."""


class AlreadyTakenBack(PatchlineError):
    """An entry that a rollback was to take back has been taken back by another one meanwhile."""

    code = "already_taken_back"


class RevertConflict(PatchlineError):
    """Others landed on the same lines after the rollback had been planned."""

    code = "revert_conflict"


@dataclass(frozen=True)
class Revert:
    """What one rollback reverts, and where.

    Attributes:
        plan: the row of its compensation plan.
        action_id: the action that this is.
        destination: the branch.
        required: what must pass.
        operator: who asked.
    """

    plan: Any
    action_id: str
    destination: Destination
    required: RequiredGates
    operator: str


class RevertLanding:
    """Lands the reverts of one run.

    Args:
        store: the state.
        repository: where the branches are.
        gates: knows the required gates.
        run_id: the run that the rollbacks belong to.
        turns: of the session, where there is one.
    """

    def __init__(
        self,
        store: StateStore,
        repository: Repository,
        gates: GateRunner,
        run_id: str,
        turns: LandingTurns | None,
    ) -> None:
        self._store, self._repository, self._run_id = store, repository, run_id
        self._lander = PatchLander(store, repository, gates, run_id, turns)

    def settle(self, one: Revert, reason: str) -> str | None:
        """Find out what became of an earlier try: git decides what landed, the ledger follows.

        Args:
            one: the rollback.
            reason: why a try that had not landed has ended.

        Returns:
            The commit that has taken the entries back; None when there is none yet.
        """
        for entry in self._tries(one):
            commit = entry.commit_sha or entry.candidate_commit
            landed = entry.state == "committed"
            if entry.state == "verified" and self._has_landed(one, commit):
                landed = True
                if isinstance(one.destination, TargetBranch):
                    one.destination.finish_checkout(entry.base_commit, commit)
            if landed:
                self._finish(one, entry.ledger_id, commit)
                return commit
            if entry.state in UNLANDED:
                self._discard(one, entry.ledger_id, reason)
        return None

    def discard_newest(self, one: Revert, reason: str) -> None:
        """End the newest try, which was told to stop: also when that ended one of its gates."""
        self._discard(one, self._tries(one)[-1].ledger_id, reason)

    def land(self, one: Revert, sandbox: Sandbox, stop: threading.Event) -> Landing:
        """Take the entries of the plan back by one commit, or say why not.

        Raises:
            AlreadyTakenBack: another rollback was faster.
            PatchlineError, OSError: the branch cannot be landed on; git, the store or the disk
                failed.
        """
        entries = [self._store.get("patch_ledger", key) for key in one.plan.entries]
        commits = [entry.commit_sha for entry in entries]
        patch, paths = self._record(one, commits)
        crash_point("revert-recorded", "a rollback's patch is in the ledger; nothing was applied")
        carrier = carrier_of(self._repository, patch.base, patch.tree, patch.created_at)

        def candidate_on(head: str) -> Candidate | Conflict:
            self._refuse_taken_back(one)
            return patch_candidate(self._repository, head, patch.base, patch.tree, carrier, paths)

        order = LandingOrder(
            patch=patch,
            destination=one.destination,
            candidate_on=candidate_on,
            gates=one.required.names,
            subject=one.required.subject,
            title=self._title(one),
            task=one.plan.document["task"],
            finish=lambda landed, commit: self._finish(one, landed.ledger_id, commit),
            trailers={REVERTS: ", ".join(one.plan.entries)},
        )
        return self._lander.land(order, sandbox, stop)

    def _title(self, one: Revert) -> str:
        first = self._store.get("patch_ledger", one.plan.ledger_id or one.plan.entries[0])
        shown = self._repository.on_objects("log", "-1", "--format=%s", first.commit_sha).stdout
        title = shown.decode("utf-8", "backslashreplace").strip()
        more = len(one.plan.entries) - 1
        return f'Revert "{title}"' + (f" and {more} more" if more else "")

    def _record(self, one: Revert, commits: Sequence[str]) -> tuple[Patch, frozenset[str]]:
        """Keep the reverse change as a patch on the branch's present head; also says its paths."""
        head = one.destination.head()
        left = revert(self._repository, head, commits)
        if isinstance(left, Stuck):
            paths = ", ".join(left.paths)
            raise RevertConflict(
                f"{left.commit[:12]} conflicts with what has landed since in {paths}; "
                "ask again to see who"
            )
        change = examine(self._repository, head, left.tree)
        return self._record_change(one, head, left.tree, change), change.paths

    @redone_when_lost
    def _record_change(self, one: Revert, head: str, tree: str, change: Change) -> Patch:
        owner: dict[str, Any] = {"workstream_id": one.plan.workstream_id, "run_id": self._run_id}
        with self._store.batch() as tx:
            artifact = Artifact(head, tree, change, ORIGIN)
            patch = keep_patch(tx, artifact, token=one.plan.plan_id, **owner)
            accept(tx, patch)
            tx.update("compensation_plan", one.plan.plan_id, revert_ledger_id=patch.ledger_id)
        return patch

    @redone_when_lost
    def _finish(self, one: Revert, ledger_id: str, commit: str) -> None:
        """The rollback is committed and every entry rolled back, in one transaction.

        Earlier tries that a gate has refused are dropped with it.
        """
        plan = one.plan
        with self._store.batch() as tx:
            if tx.get("patch_ledger", ledger_id).state != "committed":
                tx.transition(
                    "patch_ledger", ledger_id, "committed", token=plan.plan_id, commit_sha=commit
                )
            for key in plan.entries:
                if tx.get("patch_ledger", key).state == "committed":
                    tx.transition(
                        "patch_ledger",
                        key,
                        "rolled_back",
                        operator=one.operator,
                        rollback_reason=plan.reason,
                        reverted_by=ledger_id,
                    )
            for key in self._refused(tx, plan):
                reason = f"replaced by {ledger_id}: {plan.reason}"
                tx.transition("patch_ledger", key, "dropped", reason=reason, operator=one.operator)
            tx.update("compensation_plan", plan.plan_id, revert_ledger_id=ledger_id)
            if tx.get("compensation_action", one.action_id).ended_at is None:
                tx.update(
                    "compensation_action",
                    one.action_id,
                    status="done",
                    exit_code=0,
                    reason=f"landed on {one.destination.branch} as {commit}",
                    ended_at=tx.now(),
                )

    def _refused(self, tx: Transaction, plan: Any) -> list[str]:
        """Tries in quarantine, of a plan and of those that it goes on from."""
        plans = {plan.plan_id, *plan.document.get("earlier", ())}
        rows = tx.find("patch_ledger", run_id=self._run_id, state="quarantined")
        return [row.ledger_id for row in rows if row.attempt_id in plans]

    def _tries(self, one: Revert) -> list[Any]:
        rows = self._store.find("patch_ledger", workstream_id=one.plan.workstream_id)
        return [row for row in rows if row.attempt_id == one.plan.plan_id]

    @redone_when_lost
    def _discard(self, one: Revert, ledger_id: str, reason: str) -> None:
        """Nobody need look at a try that was never judged: it is dropped."""
        with self._store.batch() as tx:
            entry = tx.get("patch_ledger", ledger_id)
            if entry.state in UNLANDED:
                end_unlanded(tx, entry, reason)
            if tx.get("patch_ledger", ledger_id).state == "quarantined":
                by = one.operator
                tx.transition("patch_ledger", ledger_id, "dropped", reason=reason, operator=by)

    def _has_landed(self, one: Revert, commit: str) -> bool:
        head = self._repository.branch_head(one.destination.branch)
        return is_on(self._repository, commit, head)

    def _refuse_taken_back(self, one: Revert) -> None:
        for key in one.plan.entries:
            entry = self._store.get("patch_ledger", key)
            if entry.state != "committed":
                raise AlreadyTakenBack(f"{key} is {entry.state} meanwhile, by {entry.reverted_by}")
