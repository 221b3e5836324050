"""When what somebody waits for is done: asked by the store's guards and by every cascade.

A task waits for tasks (decisions T3), a workstream for workstreams (W4, W5), a task for its gates
(T4). Of a lineage its newest row is what is asked about: see `state.propagation.lineages`.
"""

from collections.abc import Iterable
from typing import Protocol, TypeVar

UNKNOWN = "unknown"
"""The state of something that is not there: it is never done, and nobody has given it up."""


class Need(Protocol):
    """What somebody waits for."""

    @property
    def state(self) -> str:
        """How it stands."""
        ...


class Gate(Need, Protocol):
    """A gate that somebody waits for."""

    @property
    def blocking(self) -> bool:
        """Whether it may hold anybody up; an advisory gate only records and warns (G1)."""
        ...


N = TypeVar("N", bound=Need)
G = TypeVar("G", bound=Gate)


def unmet(needs: Iterable[N], skipped_satisfies: bool = False) -> list[N]:
    """What is still waited for, of the tasks or workstreams that somebody depends on.

    Args:
        needs: for each dependency, the newest of its lineage.
        skipped_satisfies: the plan's option: a skipped workstream counts as done (W5).
    """
    return [
        one
        for one in needs
        if one.state != "completed" and not (skipped_satisfies and one.state == "skipped")
    ]


def unpassed(gates: Iterable[G]) -> list[G]:
    """What is not passed, of the gates that judge somebody; each the newest of its lineage."""
    return [one for one in gates if one.state != "PASSED" and one.blocking]
