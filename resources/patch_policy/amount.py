"""How much a patch may do: its size, and the share of the repository that it takes away."""

from collections.abc import Iterator, Sequence

from resources.effects import ABSENT, EXECUTABLE, REGULAR, Change
from resources.patch_policy.reasons import Reason
from resources.patch_policy.sections import Section
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
    yield from _told(change, _gone(change))


def too_much_blanked(change: Change, texts: Sequence[Section]) -> Iterator[Reason]:
    """The same where blank lines are left of some files; only those that gain no other are read."""
    suspects = [
        text.effect
        for text in texts
        if {text.effect.old_mode, text.effect.new_mode} <= {REGULAR, EXECUTABLE}
        and text.effect.new_blob not in EMPTY_BLOBS
        and text.removed
        and not any(line.strip() for _, line in text.added)
    ]
    gone = _gone(change)
    if not suspects or any(_told(change, gone)) or not any(_told(change, gone + len(suspects))):
        return
    contents = change.contents(effect.new_blob for effect in suspects)
    blank = {
        blob for blob, content in contents.items() if content is not None and not content.strip()
    }
    yield from _told(change, gone + sum(effect.new_blob in blank for effect in suspects))


def _gone(change: Change) -> int:
    return sum(
        effect.new_mode == ABSENT
        or (effect.new_blob in EMPTY_BLOBS and effect.old_blob not in EMPTY_BLOBS)
        for effect in change.effects
        if effect.old_mode != ABSENT
    )


def _told(change: Change, gone: int) -> Iterator[Reason]:
    if gone and 2 * gone > len(change.tracked):
        text = f"{gone} of {len(change.tracked)} tracked files are deleted or emptied"
        yield Reason("deletion", f"{text}; more than half are never taken away at once")
