"""The life of a patch in the store: machine `patch_ledger` (decisions P1 to P5).

Transitions that have no side effect between them share a transaction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from resources.patch_policy import Reason
from resources.patches.conflicts import Other, in_words, of_path
from resources.patches.records import Artifact, Patch, accept, keep_patch
from state.lost_transactions import redone_when_lost
from state.store import StateStore
from state.transaction import Transaction

UNLANDED = ("created", "validated", "queued", "applied", "apply_failed", "verified")
"""States of a patch that is neither on a branch nor at its end."""


class PatchLedger:
    """Records patches of one run. Every write carries the fencing token of its attempt."""

    def __init__(self, store: StateStore, run_id: str) -> None:
        self._store, self._run_id = store, run_id

    @redone_when_lost
    def record(
        self,
        artifact: Artifact,
        reasons: Sequence[Reason],
        attempt: Mapping[str, Any],
        *,
        task_id: str,
        workstream_id: str,
        token: str,
    ) -> Patch:
        """Keep a patch and its verdict: accepted and queued, or quarantined with every reason.

        `attempt` are columns of the attempt's row, kept in the same transaction.
        """
        owner: dict[str, Any] = {"task_id": task_id, "workstream_id": workstream_id}
        with self._store.batch() as tx:
            tx.update("task_attempt", token, **attempt)
            patch = keep_patch(tx, artifact, run_id=self._run_id, token=token, **owner)
            if reasons:
                self._refuse(tx, patch.ledger_id, reasons, token)
            else:
                accept(tx, patch)
        return patch

    @redone_when_lost
    def refuse_unread(
        self, reasons: Sequence[Reason], *, task_id: str, workstream_id: str, token: str
    ) -> None:
        """Quarantine changes that git never read: there is no patch to keep."""
        with self._store.batch() as tx:
            entry = self._create(tx, None, task_id, workstream_id, token)
            self._refuse(tx, entry.ledger_id, reasons, token)

    def applied(self, patch: Patch, head: str, tree: str, apply: int) -> str:
        """queued -> applied: the candidate on `head` has `tree`. Returns the audit event's id."""
        return self._store.transition(
            "patch_ledger",
            patch.ledger_id,
            "applied",
            token=patch.token,
            base_commit=head,
            candidate_tree=tree,
            apply_attempts=apply,
        ).event_id

    @redone_when_lost
    def conflict(
        self, patch: Patch, paths: Sequence[str], head: str, task: str, others: Sequence[Other]
    ) -> str:
        """queued -> apply_failed -> quarantined, with the conflicting paths and whose they are.

        Args:
            patch: what does not fit.
            paths: where.
            head: the commit that it does not fit.
            task: `workstream/task` of the patch.
            others: who changed these paths meanwhile.

        Returns:
            The reason, for people.
        """
        reasons = [
            Reason("conflict", f"{task} conflicts with {of_path(others, path) or head}", path)
            for path in paths
        ]
        text = f"conflict of {task} with {head[:12]} in {in_words(paths, others)}"
        with self._store.batch() as tx:
            tx.transition(
                "patch_ledger",
                patch.ledger_id,
                "apply_failed",
                token=patch.token,
                base_commit=head,
                failure_reason=text,
            )
            tx.transition(
                "patch_ledger",
                patch.ledger_id,
                "quarantined",
                token=patch.token,
                quarantine_reason=text,
                reasons=[reason.to_json() for reason in reasons],
            )
        return text

    def gates_failed(self, patch: Patch, reason: str) -> None:
        """applied -> quarantined."""
        self._store.transition(
            "patch_ledger",
            patch.ledger_id,
            "quarantined",
            token=patch.token,
            quarantine_reason=reason,
        )

    def verified(self, patch: Patch, commit: str, date: str) -> None:
        """applied -> verified, recording the commit that is about to land (the intent)."""
        self._store.transition(
            "patch_ledger",
            patch.ledger_id,
            "verified",
            token=patch.token,
            tests_ok=True,
            candidate_commit=commit,
            commit_date=date,
        )

    @redone_when_lost
    def committed(self, patch: Patch, commit: str) -> None:
        """verified -> committed, and the task with it: running -> validating -> completed.

        Whoever has taken our lease over may have found the commit on its branch and said so.
        """
        with self._store.batch() as tx:
            if tx.get("patch_ledger", patch.ledger_id).commit_sha == commit:
                return
            tx.transition(
                "patch_ledger", patch.ledger_id, "committed", token=patch.token, commit_sha=commit
            )
            if patch.task_id is not None:
                tx.transition("task", patch.task_id, "validating", token=patch.token)
                tx.transition("task", patch.task_id, "completed")

    @redone_when_lost
    def requeue(self, patch: Patch, reason: str) -> Patch:
        """The branch moved under a verified patch: its entry is dropped, a new one takes over."""
        with self._store.batch() as tx:
            tx.transition(
                "patch_ledger", patch.ledger_id, "dropped", token=patch.token, reason=reason
            )
            entry = self._create(
                *(tx, patch.patch_id, patch.task_id, patch.workstream_id, patch.token),
                replaces=tx.get("patch_ledger", patch.ledger_id).replaces,
            )
            renewed = replace(patch, ledger_id=entry.ledger_id)
            accept(tx, renewed)
        return renewed

    def drop_verified(self, patch: Patch, reason: str) -> None:
        """verified -> dropped: it can never land, and has not."""
        self._store.transition(
            "patch_ledger", patch.ledger_id, "dropped", token=patch.token, reason=reason
        )

    @redone_when_lost
    def drop_queued(self, patch: Patch, reason: str) -> None:
        """queued -> apply_failed -> dropped: it never found a head that stood still."""
        with self._store.batch() as tx:
            end_unlanded(tx, tx.get("patch_ledger", patch.ledger_id), reason)

    def _create(
        self,
        tx: Transaction,
        patch_id: str | None,
        task_id: str | None,
        workstream_id: str,
        token: str | None,
        replaces: str | None = None,
    ) -> Any:
        return tx.create(
            "patch_ledger",
            patch_id=patch_id,
            task_id=task_id,
            workstream_id=workstream_id,
            run_id=self._run_id,
            attempt_id=token,
            replaces=replaces,
        )

    def _refuse(
        self, tx: Transaction, ledger_id: str, reasons: Sequence[Reason], token: str
    ) -> None:
        tx.transition(
            "patch_ledger",
            ledger_id,
            "quarantined",
            token=token,
            quarantine_reason="; ".join(f"{r.code}: {r.message}" for r in reasons[:10]),
            reasons=[reason.to_json() for reason in reasons],
        )


def commit_landed(tx: Transaction, entry: Any) -> str:
    """Write down that a verified entry's commit was found on its branch; says the commit.

    The attempt that made it need not say so any more: its task is completed.
    """
    commit: str = entry.candidate_commit
    tx.transition("patch_ledger", entry.ledger_id, "committed", commit_sha=commit)
    task = tx.get("task", entry.task_id) if entry.task_id else None
    if task is not None and task.state == "running":
        tx.transition("task", task.task_id, "validating", reason="found on its branch")
        tx.transition("task", task.task_id, "completed")
    return commit


@redone_when_lost
def write_landed(store: StateStore, ledger_id: str) -> None:
    """`commit_landed` for an entry that somebody else may have written down meanwhile."""
    with store.batch() as tx:
        entry = tx.get("patch_ledger", ledger_id)
        if entry.state == "verified":
            commit_landed(tx, entry)


def end_unlanded(tx: Transaction, entry: Any, reason: str) -> None:
    """Bring one half-way entry to its legal end: quarantined where it can be, or dropped."""
    if entry.state == "queued":
        tx.transition("patch_ledger", entry.ledger_id, "apply_failed", failure_reason=reason)
    if entry.state in ("queued", "apply_failed", "verified"):
        tx.transition("patch_ledger", entry.ledger_id, "dropped", reason=reason)
    else:
        tx.transition("patch_ledger", entry.ledger_id, "quarantined", quarantine_reason=reason)
