"""What is asked of git's refs: one transaction that moves all that it names, or nothing.

A move may be tied to a fence, a ref of ours that must still be where its holder put it. Git looks
at the fence and moves the branch under the locks of both, so a lander that was taken over while it
slept moves nothing, whatever it believes. Source: docs/adr/0012.
"""

from dataclasses import dataclass

OURS = "patchline/"
"""Branches below this name are patchline's own."""


@dataclass(frozen=True)
class Fence:
    """What must stand in git for a move to happen.

    Attributes:
        reference: a ref in full.
        oid: the object that it must name.
        branch: the branch that it guards.
        token: of the lease that it stands for.
    """

    reference: str
    oid: str
    branch: str
    token: int


@dataclass(frozen=True)
class Move:
    """A ref, named in full, goes from `old` (None: must not exist) to `new` (None: is deleted)."""

    reference: str
    new: str | None
    old: str | None


def spelled(move: Move, fence: Fence | None = None) -> bytes:
    """The input of `git update-ref --stdin -z` for a move and what it is tied to."""
    told: list[str] = []
    if fence is not None:
        told += ["option no-deref", f"verify {fence.reference}", fence.oid]
    if as_it_stands(move.reference):
        told += ["option no-deref"]
    if move.new is None:
        told += [f"delete {move.reference}", move.old or ""]
    else:
        told += [f"update {move.reference}", move.new, move.old or "0" * len(move.new)]
    return "".join(f"{one}\0" for one in told).encode("utf-8", "surrogateescape")


def as_it_stands(reference: str) -> bool:
    """Whether a ref is ours, and never taken as a symbolic name of somebody else's."""
    return reference.startswith((f"refs/heads/{OURS}", f"refs/{OURS}"))
