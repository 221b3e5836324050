"""What there is to say about a plan, and the place it is said of."""

from dataclasses import dataclass

Loc = tuple[str | int, ...]


@dataclass(frozen=True)
class Position:
    """A place in a file; lines and columns count characters from 1."""

    line: int
    column: int


@dataclass(frozen=True)
class Finding:
    """Something worth saying about one place of a plan.

    Attributes:
        loc: keys and indexes from the top of the file.
        message: what is wrong, a sentence.
        hint: how to mend it, a sentence.
        at_key: point at the key rather than at its value.
        position: the place, when it is not that of `loc`.
    """

    loc: Loc
    message: str
    hint: str | None = None
    at_key: bool = False
    position: Position | None = None


def path_of(loc: Loc) -> str:
    """Write a location for people: `workstreams[0].tasks[2].tool`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)
    return text.removeprefix(".")
