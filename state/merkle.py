"""Merkle trees over hashes that come one at a time, in memory that grows with log n.

Source: RFC 9162 section 2.1. A leaf is hashed behind a 0x00 and a node behind a 0x01, so that no
node can be passed off as a leaf. The root of no leaves is the hash of nothing.
"""

import hashlib
from collections.abc import Sequence

LEAF_PREFIX = b"\x00"
NODE_PREFIX = b"\x01"


def leaf_hash(entry: bytes) -> bytes:
    """The hash of a leaf."""
    return hashlib.sha256(LEAF_PREFIX + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of a node over its two subtrees."""
    return hashlib.sha256(NODE_PREFIX + left + right).digest()


class MerkleTree:
    """The tree over the entries given so far; keeps only the roots of its complete subtrees.

    Args:
        watched: the place (from 0) of one entry whose inclusion will be proved; None for none. It
            must be known beforehand, since nothing of the entries is kept.
    """

    def __init__(self, watched: int | None = None) -> None:
        self.size = 0
        self._watched = watched
        self._roots: list[bytes] = []  # of the complete subtrees, the largest first
        self._place: int | None = None  # in _roots, of the subtree with the watched entry
        self._path: list[bytes] = []

    def append(self, entry: bytes) -> None:
        """Add the next entry."""
        roots = self._roots
        roots.append(leaf_hash(entry))
        if self.size == self._watched:
            self._place = len(roots) - 1
        self.size += 1
        # As many subtrees are complete as the size has ones; each carry joins two of them.
        carries = (self.size & -self.size).bit_length() - 1
        for _ in range(carries):
            _join(roots, self._path, self._place)
            self._place = _moved(self._place, len(roots))

    def root(self) -> bytes:
        """The root over all entries given so far; more may follow."""
        return self._folded()[0]

    def inclusion_path(self) -> tuple[bytes, ...]:
        """The hashes that lead from the watched entry to `root`, the lowest first.

        Raises:
            IndexError: the watched entry has not come, or none is watched.
        """
        if self._place is None:
            raise IndexError(f"entry {self._watched} is not among the {self.size} given")
        return self._folded()[1]

    def _folded(self) -> tuple[bytes, tuple[bytes, ...]]:
        """Root and path once the subtrees are joined from the right, the smallest first."""
        if not self._roots:
            return hashlib.sha256().digest(), ()
        roots, path, place = self._roots.copy(), self._path.copy(), self._place
        while len(roots) > 1:
            _join(roots, path, place)
            place = _moved(place, len(roots))
        return roots[0], tuple(path)


def _join(roots: list[bytes], path: list[bytes], place: int | None) -> None:
    """Join the last two subtrees; the sibling of the one at `place` is a step of the path."""
    right = roots.pop()
    left = roots.pop()
    if place == len(roots):
        path.append(right)
    elif place == len(roots) + 1:
        path.append(left)
    roots.append(node_hash(left, right))


def _moved(place: int | None, subtrees: int) -> int | None:
    return None if place is None else min(place, subtrees - 1)


def includes(root: bytes, size: int, place: int, entry: bytes, path: Sequence[bytes]) -> bool:
    """Whether `path` proves that `entry` stands at `place` (from 0) in the tree of that size.

    Source: RFC 9162 section 2.1.3.2.
    """
    if not 0 <= place < size:
        return False
    here, last, found = place, size - 1, leaf_hash(entry)
    for step in path:
        if last == 0:
            return False
        if here & 1 or here == last:
            found = node_hash(step, found)
            while not here & 1 and here:
                here, last = here >> 1, last >> 1
        else:
            found = node_hash(found, step)
        here, last = here >> 1, last >> 1
    return last == 0 and found == root
