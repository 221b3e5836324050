"""A recorded patch becomes a commit on a branch: apply, gates, commit (design section 4 steps 6-8).

Every step records its intent or its result in the store before the next begins. Whoever wants a
patch landed (a task, a rollback, a person's replacement) gives an order; how it ends is data.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from resources.gates import GateRunner, Subject
from resources.landing import (
    Candidate,
    Lost,
    landing_turn,
    message_with_trailers,
)
from resources.ledger import Patch, PatchLedger
from resources.merging import Conflict
from resources.repository import Repository
from resources.worktrees import Sandbox
from state.crash_points import crash_point
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

    def land(self, candidate: Candidate, commit: str) -> Lost | None:
        """Move the branch to the commit, if it still is where the candidate was built."""
        ...

    def head_after(self, lost: Lost) -> str:
        """The commit to build the next candidate on."""
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


@dataclass(frozen=True)
class Committed:
    """The patch is on the branch, and the ledger says so."""

    commit: str


@dataclass(frozen=True)
class Conflicted:
    """The patch does not fit the branch; it is quarantined."""

    paths: tuple[str, ...]
    head: str


@dataclass(frozen=True)
class GatesFailed:
    """A gate refused the candidate; the patch is quarantined."""

    reason: str
    feedback: str


@dataclass(frozen=True)
class NeverStill:
    """The branch moved at every apply; the patch is dropped."""

    reason: str


@dataclass(frozen=True)
class Stopped:
    """It was told to stop; the ledger entry is where it was, for whoever takes over."""


Landing = Committed | Conflicted | GatesFailed | NeverStill | Stopped


class PatchLander:
    """Lands patches of one run; used by many threads at once.

    Args:
        store: the state.
        repository: where the branches are.
        gates: the plan's gates.
        run_id: the run that the patches belong to.
    """

    def __init__(
        self, store: StateStore, repository: Repository, gates: GateRunner, run_id: str
    ) -> None:
        self._store, self._repository = store, repository
        self._gates, self._run_id = gates, run_id
        self._ledger = PatchLedger(store, run_id)

    def land(self, order: LandingOrder, sandbox: Sandbox, stop: threading.Event) -> Landing:
        """Bring a queued patch to its end: on the branch, quarantined or dropped.

        Args:
            order: what to land.
            sandbox: where the gates run.
            stop: set when it must end here.

        Raises:
            PatchlineError, OSError: git, the store or the disk failed.
        """
        destination = order.destination
        with landing_turn(self._repository, destination.branch):
            head = destination.head()
            for apply in range(1, MAX_APPLIES + 1):
                if stop.is_set():
                    return Stopped()
                candidate = order.candidate_on(head)
                if isinstance(candidate, Conflict):
                    self._ledger.conflict(order.patch, candidate.paths, head)
                    return Conflicted(candidate.paths, head)
                ended = self._apply(order, candidate, head, apply, sandbox, stop)
                if not isinstance(ended, Lost):
                    return ended
                head = destination.head_after(ended)
                reason = f"{destination.branch} moved to {ended.found}"
                order = replace(order, patch=self._ledger.requeue(order.patch, reason))
        self._ledger.drop_queued(order.patch, "the branch moved at every apply")
        return NeverStill(f"{destination.branch} moved during each of {MAX_APPLIES} applies")

    def _apply(
        self,
        order: LandingOrder,
        candidate: Candidate,
        head: str,
        apply: int,
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
        lost = order.destination.land(candidate, commit)
        if lost is not None:
            return lost
        crash_point("branch-moved", "the commit is on its branch; the ledger says verified")
        order.finish(patch, commit)
        crash_point("patch-committed", "the ledger says committed")
        return Committed(commit)

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
