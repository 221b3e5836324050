"""A recorded patch becomes a commit on a branch: apply, gates, commit (design section 4 steps 6-8).

Every step records its intent or its result in the store before the next begins. Whoever wants a
patch landed (a task, a rollback, a person's replacement) gives an order; how it ends is data.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

from resources.gates import GateRunner, Subject
from resources.git.commit_text import message_with_trailers
from resources.git.merging import Conflict
from resources.git.ref_moves import Fence
from resources.git.repository import Repository
from resources.landing.busy_checkouts import CheckoutBusy
from resources.landing.candidates import Candidate
from resources.landing.moving import LandedTreeMismatch, Lost
from resources.landing.outcomes import (
    Committed,
    Conflicted,
    GatesFailed,
    Landing,
    NeverStill,
    Stopped,
)
from resources.landing.turns import LandingTurns, Turn
from resources.patches.conflicts import others_since
from resources.patches.ledger import PatchLedger
from resources.patches.records import Patch
from resources.worktrees import Sandbox
from state.crash_points import crash_point
from state.errors import StaleTokenError, TerminalStateViolation
from state.store import StateStore

MAX_APPLIES = 3


class Destination(Protocol):
    """A branch that patches land on, by its own rules."""

    @property
    def branch(self) -> str:
        """Its name, without `refs/heads/`."""
        ...

    def head(self) -> str:
        """The commit to build the first candidate on."""
        ...

    def refuse_in_the_way(self, candidate: Candidate) -> None:
        """Look, before a candidate is judged, whether it could land.

        Raises:
            CheckoutBusy: a person's work is in the way.
        """
        ...

    def land(self, candidate: Candidate, commit: str, fence: Fence) -> Lost | None:
        """Move the branch to the commit, if it still is where the candidate was built.

        Raises:
            StaleLeaseError: the turn that the fence is of is over; nothing was moved.
            CheckoutBusy: a person's work is in the way; nothing was moved.
        """
        ...

    def head_after(self, lost: Lost, fence: Fence) -> str:
        """The commit to build the next candidate on.

        Raises:
            StaleLeaseError: the turn that the fence is of is over; nothing was moved.
        """
        ...

    def put_right(self, fence: Fence) -> None:
        """Take off the branch again what the ledger has ended, where the branch is ours alone.

        Raises:
            StaleLeaseError: the turn that the fence is of is over; nothing was moved.
        """
        ...


@dataclass(frozen=True)
class LandingOrder:
    """What is to land, where, and what must have passed before.

    Attributes:
        patch: recorded and queued in the ledger.
        destination: the branch.
        candidate_on: the candidate on a head of the branch.
        gates: names of the gates that judge the candidate.
        subject: whose gates they are; tree, head and ledger entry are filled in.
        title: the first line of the commit's message.
        task: `workstream/task`, for the trailer.
        finish: writes that the patch is committed, and what follows from it, in one transaction.
        trailers: more of them.
    """

    patch: Patch
    destination: Destination
    candidate_on: Callable[[str], Candidate | Conflict]
    gates: tuple[str, ...]
    subject: Subject
    title: str
    task: str
    finish: Callable[[Patch, str], None]
    trailers: Mapping[str, str] = field(default_factory=dict[str, str])


class PatchLander:
    """Lands patches of one run; used by many threads at once.

    Args:
        store: the state.
        repository: where the branches are.
        gates: the plan's gates.
        run_id: the run that the patches belong to.
        turns: of the session, where there is one.
    """

    def __init__(
        self,
        store: StateStore,
        repository: Repository,
        gates: GateRunner,
        run_id: str,
        turns: LandingTurns | None = None,
    ) -> None:
        self._store, self._repository = store, repository
        self._gates, self._run_id = gates, run_id
        self._ledger = PatchLedger(store, run_id)
        self._turns = turns or LandingTurns(store, repository)

    def land(self, order: LandingOrder, sandbox: Sandbox, stop: threading.Event) -> Landing:
        """Bring a queued patch to its end: on the branch, quarantined or dropped.

        Args:
            order: what to land.
            sandbox: where the gates run.
            stop: set when it must end here.

        Raises:
            CheckoutBusy: a person's work is in the way of the branch; the patch is dropped.
            PatchlineError, OSError: git, the store or the disk failed.
        """
        with self._turns.turn(order.destination.branch, stop) as turn:
            if turn is None:
                return Stopped()
            return self._land(order, turn, sandbox, stop)

    def _land(
        self, order: LandingOrder, turn: Turn, sandbox: Sandbox, stop: threading.Event
    ) -> Landing:
        destination = order.destination
        head = destination.head()
        for apply in range(1, MAX_APPLIES + 1):
            if stop.is_set():
                return Stopped()
            candidate = order.candidate_on(head)
            if isinstance(candidate, Conflict):
                return self._conflict(order, candidate.paths, head)
            self._refuse_in_the_way(order, candidate)
            ended = self._apply(order, candidate, head, apply, turn, sandbox, stop)
            if not isinstance(ended, Lost):
                return ended
            still_ours = partial(self._refuse_ended, order.patch)
            head = turn.do(partial(destination.head_after, ended), still_ours)
            reason = f"{destination.branch} moved to {ended.found}"
            order = replace(order, patch=self._ledger.requeue(order.patch, reason))
        self._ledger.drop_queued(order.patch, "the branch moved at every apply")
        return NeverStill(f"{destination.branch} moved during each of {MAX_APPLIES} applies")

    def _conflict(self, order: LandingOrder, paths: tuple[str, ...], head: str) -> Conflicted:
        patch = order.patch
        others = others_since(self._store, self._repository, patch.base, head, paths)
        reason = self._ledger.conflict(patch, paths, head, order.task, others)
        return Conflicted(paths, head, others, reason)

    def _refuse_in_the_way(self, order: LandingOrder, candidate: Candidate) -> None:
        try:
            order.destination.refuse_in_the_way(candidate)
        except CheckoutBusy as busy:
            self._ledger.drop_queued(order.patch, str(busy))
            raise

    def _apply(
        self,
        order: LandingOrder,
        candidate: Candidate,
        head: str,
        apply: int,
        turn: Turn,
        sandbox: Sandbox,
        stop: threading.Event,
    ) -> Landing | Lost:
        """Judge one candidate and land it."""
        patch = order.patch
        audit_head = self._ledger.applied(patch, head, candidate.tree, apply)
        crash_point("patch-applied", "the candidate's tree is recorded; no gate has begun")
        subject = replace(order.subject, tree=candidate.tree, head=head, ledger_id=patch.ledger_id)
        verdict = self._gates.judge(order.gates, subject, sandbox, stop)
        if not verdict.passed:
            reason = "; ".join(verdict.failures) or "no gate judged it"
            self._ledger.gates_failed(patch, reason)
            return Stopped() if verdict.stopped else GatesFailed(reason, verdict.feedback)
        crash_point("gates-passed", "every gate has passed; the commit is not written")
        date = self._store.now()
        message = self._message(order, verdict.gate_ids, audit_head)
        commit = self._repository.commit(candidate.tree, candidate.parents, message, date)
        crash_point("commit-written", "the commit is in the object store; nothing names it")
        self._ledger.verified(patch, commit, date)
        crash_point("landing-intended", "the intent to land is recorded; the branch has not moved")
        lost = self._move(order, candidate, commit, turn, verdict.gate_ids)
        if lost is not None:
            return lost
        crash_point("branch-moved", "the commit is on its branch; the ledger says verified")
        self._finish(order, patch, commit, turn)
        crash_point("patch-committed", "the ledger says committed")
        return Committed(commit)

    def _finish(self, order: LandingOrder, patch: Patch, commit: str, turn: Turn) -> None:
        try:
            order.finish(patch, commit)
        except TerminalStateViolation:  # cancelled in the instant of its landing
            turn.do(order.destination.put_right)
            raise

    def _move(
        self,
        order: LandingOrder,
        candidate: Candidate,
        commit: str,
        turn: Turn,
        gate_ids: Sequence[str],
    ) -> Lost | None:
        """Move the branch to what was judged, and to nothing else."""
        self._refuse_unjudged(order.patch, candidate, commit, gate_ids)
        try:
            # What was judged keeps its worth: it lands, if the branch is where it was.
            still_ours = partial(self._refuse_ended, order.patch)
            return turn.do(partial(order.destination.land, candidate, commit), still_ours)
        except CheckoutBusy as busy:
            self._ledger.drop_verified(order.patch, str(busy))
            raise

    def _refuse_ended(self, patch: Patch) -> None:
        """Whoever had our turn may have taken us for dead, and ended the entry."""
        if self._store.get("patch_ledger", patch.ledger_id).state != "verified":
            raise StaleTokenError("patch_ledger", patch.ledger_id, patch.token or "(none)", None)

    def _refuse_unjudged(
        self, patch: Patch, candidate: Candidate, commit: str, gate_ids: Sequence[str]
    ) -> None:
        """The recorded intent and every gate's record are of the tree that is about to land.

        The commit's own tree is read from git where the branch is moved (`landing.moving.land`).
        """
        entry = self._store.get("patch_ledger", patch.ledger_id)
        gates = self._store.find("test_gate", gate_id=list(gate_ids))
        trees = {entry.candidate_tree, *(gate.tree for gate in gates)}
        unpassed = [g.name for g in gates if g.blocking and g.state != "PASSED"]
        if trees != {candidate.tree} or len(gates) != len(gate_ids) or not gates or unpassed:
            raise LandedTreeMismatch(
                f"{patch.ledger_id}: the tree to land is {candidate.tree}, but what was recorded "
                f"and judged is {sorted(map(str, trees))} by {len(gates)} of {len(gate_ids)} gates"
                f"{', not passed: ' + ', '.join(unpassed) if unpassed else ''}; nothing landed"
            )
        if entry.candidate_commit != commit:
            raise LandedTreeMismatch(
                f"{patch.ledger_id}: {commit} is about to land, but {entry.candidate_commit} was "
                "recorded; nothing landed"
            )

    def _message(self, order: LandingOrder, gate_ids: Sequence[str], audit_head: str) -> str:
        trailers = {
            "Patchline-Run": self._run_id,
            "Patchline-Task": order.task,
            "Patchline-Ledger": order.patch.ledger_id,
            "Patchline-Patch-SHA256": order.patch.sha256,
            "Patchline-Gates": ", ".join(gate_ids),
            "Patchline-Audit": audit_head,
            **order.trailers,
        }
        return message_with_trailers(order.title, trailers)
