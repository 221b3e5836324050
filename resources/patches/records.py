"""A patch as the store keeps it: the artifact, which never changes, and its first ledger entry."""

import hashlib
from dataclasses import dataclass
from typing import Any

from resources.effects import Change
from state.transaction import Transaction


@dataclass(frozen=True)
class Artifact:
    """What a tool, a rollback or a person made: a tree on a base, and what that changes.

    `origin` is the tool's id, `rollback` or `replacement`.
    """

    base: str
    tree: str
    change: Change
    origin: str


@dataclass(frozen=True)
class Patch:
    """A recorded patch and the ledger entry that it lives in now.

    A rollback or a person's replacement has no attempt (`token`), and perhaps no task.
    """

    ledger_id: str
    patch_id: str
    sha256: str
    base: str
    tree: str
    created_at: str
    workstream_id: str
    task_id: str | None
    token: str | None


def keep_patch(
    tx: Transaction,
    artifact: Artifact,
    *,
    run_id: str,
    workstream_id: str,
    task_id: str | None = None,
    token: str | None = None,
    replaces_patch_id: str | None = None,
    **entry: Any,
) -> Patch:
    """Write a patch and a ledger entry for it, which is `created`.

    Args:
        tx: the transaction.
        artifact: the patch.
        run_id: the run it belongs to.
        workstream_id: the workstream it belongs to.
        task_id: the task it was made for, if any.
        token: the attempt that made it, if any.
        replaces_patch_id: the patch that it stands for, if any.
        **entry: more columns of the ledger entry.
    """
    change = artifact.change
    row = tx.create(
        "patch",
        task_id=task_id,
        sha256=hashlib.sha256(change.diff).hexdigest(),
        base_commit=artifact.base,
        tree=artifact.tree,
        diff=change.diff,
        files=len(change.effects),
        insertions=change.size.insertions,
        deletions=change.size.deletions,
        bytes=len(change.diff),
        origin=artifact.origin,
        replaces_patch_id=replaces_patch_id,
        effects=[effect.to_json() for effect in change.effects],
    )
    made = tx.create(
        "patch_ledger",
        patch_id=row.patch_id,
        task_id=task_id,
        workstream_id=workstream_id,
        run_id=run_id,
        attempt_id=token,
        **entry,
    )
    return Patch(
        ledger_id=made.ledger_id,
        patch_id=row.patch_id,
        sha256=row.sha256,
        base=artifact.base,
        tree=artifact.tree,
        created_at=row.created_at,
        workstream_id=workstream_id,
        task_id=task_id,
        token=token,
    )


def accept(tx: Transaction, patch: Patch) -> None:
    """created -> validated -> queued: nothing speaks against it."""
    flags: dict[str, Any] = dict.fromkeys(("format_ok", "scope_ok", "constraints_ok"), True)
    tx.transition("patch_ledger", patch.ledger_id, "validated", token=patch.token, **flags)
    tx.transition("patch_ledger", patch.ledger_id, "queued", token=patch.token)
