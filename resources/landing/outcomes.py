"""How the landing of a patch can end: expected outcomes as data."""

from dataclasses import dataclass

from resources.patches.conflicts import Other


@dataclass(frozen=True)
class Committed:
    """The patch is on the branch, and the ledger says so."""

    commit: str


@dataclass(frozen=True)
class Conflicted:
    """The patch does not fit the branch; it is quarantined.

    Attributes:
        paths: where.
        head: the commit that it does not fit.
        others: who changed these paths since the patch's base, as far as git can tell.
        reason: all of it in words.
    """

    paths: tuple[str, ...]
    head: str
    others: tuple[Other, ...] = ()
    reason: str = ""


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
    """It was told to stop.

    The ledger entry is where it was, for whoever takes over; quarantined where a gate was at work.
    """


Landing = Committed | Conflicted | GatesFailed | NeverStill | Stopped
