"""Rows made to do ended ones again: which row of a lineage stands for all of it.

Doing an ended task or gate again is a new row with `retry_of` (decisions T7, G2). Whoever depends
on any row of such a lineage looks at the newest of them, whatever the others came to.
"""

from collections.abc import Iterable, Mapping
from typing import Protocol, TypeVar


class Kin(Protocol):
    """A row of a lineage, as far as its place in it goes."""

    @property
    def key(self) -> str:
        """Its id."""
        ...

    @property
    def retry_of(self) -> str | None:
        """The id of the row that it does again."""
        ...

    @property
    def created_at(self) -> str:
        """When it was made."""
        ...


K = TypeVar("K", bound=Kin)


def lineages(rows: Iterable[Kin]) -> dict[str, tuple[str, int]]:
    """Id -> the original that the row does again, and over how many rows."""
    before = {row.key: row.retry_of for row in rows}
    known: dict[str, tuple[str, int]] = {}
    for key in before:
        way = [key]
        while way[-1] not in known:
            earlier = before[way[-1]]
            if earlier is None or earlier not in before or earlier in way:
                known[way[-1]] = (way[-1], 0)
            else:
                way.append(earlier)
        root, depth = known[way.pop()]
        for step, one in enumerate(reversed(way), start=1):
            known[one] = (root, depth + step)
    return known


def standing(rows: Iterable[K], roots: Mapping[str, tuple[str, int]]) -> dict[str, K]:
    """The row that stands for each lineage now, by the id of the original.

    It is the one made over the most rows; of several of these the one made last.
    """
    found: dict[str, K] = {}
    for row in rows:
        root, _ = roots[row.key]
        if root not in found or _age(row, roots) > _age(found[root], roots):
            found[root] = row
    return found


def newest(rows: Iterable[K]) -> list[K]:
    """The row that stands for each lineage, in the order of the originals."""
    rows = list(rows)
    return list(standing(rows, lineages(rows)).values())


def _age(row: Kin, roots: Mapping[str, tuple[str, int]]) -> tuple[int, str, str]:
    return roots[row.key][1], row.created_at, row.key
