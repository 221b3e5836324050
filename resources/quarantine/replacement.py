"""A person's patch in the place of a quarantined one, once its run has ended.

It is held to what the refused patch was held to: the policy of its run's plan, the scope of its
task, the task's exit gates and its workstream's gates, on exactly the tree that lands. It goes
straight to the target, for the workstream has ended. Source: design section 5 (`patch replace`).
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from resources.execution.session import RunSession
from resources.gates import Subject
from resources.git.commit_text import REPLACES
from resources.git.merging import Conflict
from resources.landing.candidates import Candidate, carrier_of, patch_candidate
from resources.landing.lander import LandingOrder, PatchLander
from resources.landing.outcomes import (
    Committed,
    Conflicted,
    GatesFailed,
    Landing,
    NeverStill,
    Stopped,
)
from resources.landing.target_branch import TargetBranch
from resources.patch_policy import Scope
from resources.patches.check import Checked, check_patch
from resources.patches.ledger import UNLANDED, end_unlanded
from resources.patches.records import Artifact, Patch, accept, keep_patch
from resources.patches.stored import tree_of_diff
from resources.quarantine.entries import half_replaced
from resources.quarantine.replacement_orders import (
    REQUESTED,
    CannotBeReplaced,
    NotLanded,
    Outcome,
    Rejected,
    Replaced,
    Request,
    replaceable,
    requested,
)
from state.crash_points import crash_point
from state.lost_transactions import redone_when_lost
from state.store import StateStore
from state.transaction import Transaction

ORIGIN = "replacement"


class Replacement:
    """Lands a patch in the place of a quarantined one.

    Nobody else may work on the run meanwhile: the caller holds it. A process may die at any line;
    asking again finishes what landed, discards what did not, and goes on.

    Args:
        session: of the run that the entry belongs to.
        request: what is to be replaced.

    """

    def __init__(self, session: RunSession, request: Request) -> None:
        self._session, self._store = session, session.store
        self._request, self._entry = request, request.entry
        self._repository = session.repository
        run = self._store.get("run", session.run_id)
        self._target = TargetBranch(self._repository, run.target)

    def land(self, source: Path | bytes, stop: threading.Event) -> Outcome:
        """Check the patch, record it, land it.

        Args:
            source: the patch file, or its bytes.
            stop: set when it must end here.

        Raises:
            NotQuarantined: the entry is in another state.
            CannotBeReplaced: it is no task's, or its task has landed or is about to.
            PreflightError: its run has not ended.
            CheckoutBusy, TargetGone: the target cannot be landed on now; nothing landed.
            PatchlineError, OSError: git, the store or the disk failed; nothing landed, or asking
                again finds out that it did.
        """
        finished = self.finish()
        if finished is not None:
            return finished
        label = replaceable(self._session, self._entry)
        self._refuse_beside_another()
        self._target.refuse_unfit()
        spec = self._session.spec
        task = spec.tasks[label]
        base = self._target.head()
        scope = Scope(task.scope, task.create)
        checked = check_patch(self._repository, base, source, scope, spec.policy)
        if not checked.accepted or checked.change is None:
            return Rejected(checked)
        tree = tree_of_diff(self._repository, base, checked.change.diff)
        crash_point("replacement-written", "a replacement's tree is in git; nothing is recorded")
        patch = self._record(checked, base, tree)
        crash_point("replacement-recorded", "a replacement is in the ledger; nothing has landed")
        with self._settled():
            landing = self._land(patch, label, checked.change.paths, stop)
        return self._outcome(patch, landing)

    def _refuse_beside_another(self) -> None:
        """A task lands once: what is half-way for another of its patches comes to its end first."""
        task_id, run_id = self._entry.task_id, self._entry.run_id
        for other in half_replaced(self._store, task_id=task_id):
            raise CannotBeReplaced(
                f"the replacement of {other.ledger_id}, another patch of the same task, was left "
                f"half-way; let it come to its end first: patchline resume {run_id}"
            )

    # -- recorded --------------------------------------------------------------------------------

    @redone_when_lost
    def _record(self, checked: Checked, base: str, tree: str) -> Patch:
        """The patch and its entry, accepted and queued, in one transaction."""
        change = checked.change
        if change is None or tree != checked.tree:
            raise CannotBeReplaced("the patch does not make the same tree twice; it was not taken")
        old, by = self._entry, self._request
        with self._store.batch() as tx:
            # Locks the old entry, so that two replacements of it cannot both begin.
            tx.record(
                "patch_ledger",
                old.ledger_id,
                REQUESTED,
                reason=by.reason,
                operator=by.operator,
            )
            if tx.get("patch_ledger", old.ledger_id).state != "quarantined" or self._unfinished(tx):
                raise CannotBeReplaced(f"somebody else is replacing {old.ledger_id}; try again")
            patch = keep_patch(
                tx,
                Artifact(base, tree, change, ORIGIN),
                run_id=old.run_id,
                workstream_id=old.workstream_id,
                task_id=old.task_id,
                replaces_patch_id=old.patch_id,
                replaces=old.ledger_id,
                reason=by.reason,
                operator=by.operator,
            )
            accept(tx, patch)
        return patch

    # -- landed ----------------------------------------------------------------------------------

    def _land(
        self, patch: Patch, label: str, paths: frozenset[str], stop: threading.Event
    ) -> Landing:
        session = self._session
        task = session.spec.tasks[label]
        stream = session.spec.workstreams[label.partition("/")[0]]
        carrier = carrier_of(self._repository, patch.base, patch.tree, patch.created_at)

        def candidate_on(head: str) -> Candidate | Conflict:
            return patch_candidate(self._repository, head, patch.base, patch.tree, carrier, paths)

        order = LandingOrder(
            patch=patch,
            destination=self._target,
            candidate_on=candidate_on,
            gates=tuple(dict.fromkeys((*task.gates, *stream.gates))),
            subject=Subject(
                tree="",
                head="",
                run_id=session.run_id,
                workstream_id=patch.workstream_id,
                role="exit",
                task_id=patch.task_id,
                label=label,
                prompt=task.prompt,
                scope=task.scope,
            ),
            title=task.title,
            task=label,
            finish=lambda landed, commit: self._finish(landed.ledger_id, commit),
            trailers={REPLACES: self._entry.ledger_id},
        )
        lander = PatchLander(
            session.store, self._repository, session.gates, session.run_id, session.turns
        )
        with session.sandboxes.lease(None) as sandbox:
            return lander.land(order, sandbox, stop)

    @redone_when_lost
    def _finish(self, ledger_id: str, commit: str) -> None:
        """verified -> committed, and what it replaces quarantined -> dropped.

        Earlier replacements of the same entry that were refused are dropped with it. Whoever finds
        the commit, the reason is that of the request that it has landed for.
        """
        old = self._entry.ledger_id
        by = requested(self._store, self._entry) or self._request
        with self._store.batch() as tx:
            if tx.get("patch_ledger", ledger_id).commit_sha != commit:  # nobody found it in git
                tx.transition("patch_ledger", ledger_id, "committed", commit_sha=commit)
            refused = tx.find("patch_ledger", replaces=old, state="quarantined")
            refused += tx.find("patch_ledger", ledger_id=old, state="quarantined")
            for one in (entry.ledger_id for entry in refused):
                reason = f"replaced by {ledger_id}: {by.reason}"
                tx.transition("patch_ledger", one, "dropped", reason=reason, operator=by.operator)

    def _outcome(self, patch: Patch, landing: Landing) -> Outcome:
        match landing:
            case Committed(commit):
                (entry,) = self._store.find("patch_ledger", commit_sha=commit)
                return Replaced(entry.ledger_id, commit)
            case Conflicted(reason=reason):
                return NotLanded(self._newest(patch), f"{self._target.branch} moved: {reason}")
            case GatesFailed(reason, feedback):
                return NotLanded(self._newest(patch), reason, feedback)
            case NeverStill(reason):
                return NotLanded(self._newest(patch), reason)
            case Stopped():
                self._discard(self._newest(patch), "interrupted")
                return NotLanded(self._newest(patch), "interrupted", interrupted=True)

    def _newest(self, patch: Patch) -> str:
        """The entry that a patch has lived in last: it gets a new one when the branch moves."""
        return self._store.find("patch_ledger", patch_id=patch.patch_id)[-1].ledger_id

    # -- half-way --------------------------------------------------------------------------------

    @contextmanager
    def _settled(self) -> Iterator[None]:
        """Leave no entry half-way, however the block ends."""
        try:
            yield
        finally:
            self.settle("it was stopped before it landed")

    def finish(self) -> Replaced | None:
        """End what a process that is gone has left of earlier replacements; see `settle`."""
        self._session.recovery.take_over()
        return self.settle("the process died")

    def settle(self, reason: str) -> Replaced | None:
        """End what earlier replacements of the entry have under way; git decides about landed ones.

        Returns:
            The one that had landed: it is committed, and the old entry dropped.
        """
        if not self._unfinished(self._store):
            return None
        # In our turn: whoever had it before cannot move the branch any more.
        with self._session.turns.turn(self._target.branch) as turn:
            for entry in self._unfinished(self._store) if turn else ():
                if entry.state == "committed" or self._has_landed(entry):
                    self._target.finish_checkout(entry.base_commit, entry.candidate_commit)
                    self._finish(entry.ledger_id, entry.candidate_commit)
                    return Replaced(entry.ledger_id, entry.candidate_commit)
                self._discard(entry.ledger_id, reason)
        return None

    def _unfinished(self, source: Transaction | StateStore) -> list[Any]:
        """Replacements of the entry, while it is quarantined, that did not come to their end."""
        entries = source.find("patch_ledger", replaces=self._entry.ledger_id)
        quarantined = source.get("patch_ledger", self._entry.ledger_id).state == "quarantined"
        unfinished = {*UNLANDED, "committed"} if quarantined else set(UNLANDED)
        return [entry for entry in entries if entry.state in unfinished]

    def _has_landed(self, entry: Any) -> bool:
        """Whether the target has the commit of an entry: git decides."""
        commit = entry.candidate_commit
        return bool(
            entry.state == "verified"
            and self._repository.resolve(commit)
            and self._repository.is_ancestor(commit, self._target.head())
        )

    @redone_when_lost
    def _discard(self, ledger_id: str, reason: str) -> None:
        """Nobody need look at a replacement that was never judged: it is dropped."""
        with self._store.batch() as tx:
            entry = tx.get("patch_ledger", ledger_id)
            if entry.state in UNLANDED:
                end_unlanded(tx, entry, reason)
            if tx.get("patch_ledger", ledger_id).state == "quarantined":
                by = self._request.operator
                tx.transition("patch_ledger", ledger_id, "dropped", reason=reason, operator=by)
