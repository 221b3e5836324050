"""How much a patch may do: its size, and the share of the repository that it takes away."""

from collections.abc import Iterator

from resources.effects import ABSENT, Change
from resources.patch_policy.reasons import Reason
from resources.specs import PolicySpec

EMPTY_BLOBS = frozenset(
    {
        "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
        "473a0f4c3be8a93681a267e3b1e9a7dcda1185436fe141f7749120a303721813",
    }
)
"""The empty file's name in SHA-1 and SHA-256 repositories."""


def too_large(change: Change, policy: PolicySpec) -> Iterator[Reason]:
    """More files, bytes or hunks than the plan allows."""
    files, size = len(change.effects), len(change.diff)
    if files > policy.max_files:
        text = f"{files} files are changed, policy.max_files is {policy.max_files}"
        yield Reason("oversize", text)
    if size > policy.max_bytes:
        text = f"the patch has {size} bytes, policy.max_bytes is {policy.max_bytes}"
        yield Reason("oversize", text)
    hunks = change.diff.count(b"\n@@ ")  # lines of files begin with a blank, `+` or `-`
    if hunks > policy.max_hunks:
        yield Reason("oversize", f"{hunks} hunks, policy.max_hunks is {policy.max_hunks}")


def too_much_gone(change: Change) -> Iterator[Reason]:
    """More than half of the tracked files deleted or emptied."""
    gone = sum(
        effect.new_mode == ABSENT
        or (effect.new_blob in EMPTY_BLOBS and effect.old_blob not in EMPTY_BLOBS)
        for effect in change.effects
        if effect.old_mode != ABSENT
    )
    if gone and 2 * gone > len(change.tracked):
        text = f"{gone} of {len(change.tracked)} tracked files are deleted or emptied"
        yield Reason("deletion", f"{text}; more than half are never taken away at once")
