"""Merkle trees: equal to RFC 9162's recursive definition, and proofs that prove one thing only."""

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from state.merkle import MerkleTree, includes, leaf_hash, node_hash

# The vectors of the Certificate Transparency reference implementation, for RFC 6962 and 9162 alike.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
PATHS = {
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
}
ENTRIES = st.lists(st.binary(max_size=40), min_size=1, max_size=70)


def naive_root(entries: Sequence[bytes]) -> bytes:
    """RFC 9162 section 2.1.1 as it is written."""
    if not entries:
        return hashlib.sha256(b"").digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\0" + entries[0]).digest()
    half = split(len(entries))
    return hashlib.sha256(b"\1" + naive_root(entries[:half]) + naive_root(entries[half:])).digest()


def naive_path(place: int, entries: Sequence[bytes]) -> list[bytes]:
    """RFC 9162 section 2.1.3.1 as it is written."""
    if len(entries) == 1:
        return []
    half = split(len(entries))
    if place < half:
        return [*naive_path(place, entries[:half]), naive_root(entries[half:])]
    return [*naive_path(place - half, entries[half:]), naive_root(entries[:half])]


def split(size: int) -> int:
    """The largest power of two below the size."""
    return 1 << ((size - 1).bit_length() - 1)


def grown(entries: Sequence[bytes], watched: int | None = None) -> MerkleTree:
    tree = MerkleTree(watched)
    for entry in entries:
        tree.append(entry)
    return tree


@pytest.mark.parametrize("size", range(len(ROOTS)))
def test_roots_are_those_of_the_reference_implementation(size: int) -> None:
    assert grown(LEAVES[:size]).root().hex() == ROOTS[size]


@pytest.mark.parametrize(("place", "size"), PATHS)
def test_paths_are_those_of_the_reference_implementation(place: int, size: int) -> None:
    tree = grown(LEAVES[:size], place)
    assert [step.hex() for step in tree.inclusion_path()] == PATHS[place, size]
    assert includes(bytes.fromhex(ROOTS[size]), size, place, LEAVES[place], tree.inclusion_path())


@settings(max_examples=60, deadline=None)
@given(ENTRIES)
def test_the_root_at_every_size_is_that_of_the_definition(entries: list[bytes]) -> None:
    tree = MerkleTree()
    for count, entry in enumerate(entries, start=1):
        tree.append(entry)
        assert tree.root() == naive_root(entries[:count])
    assert tree.size == len(entries)


@settings(max_examples=100, deadline=None)
@given(st.data(), ENTRIES)
def test_a_path_is_that_of_the_definition_and_proves_its_entry(
    data: st.DataObject, entries: list[bytes]
) -> None:
    place = data.draw(st.integers(0, len(entries) - 1))
    tree = grown(entries, place)
    path = tree.inclusion_path()
    assert list(path) == naive_path(place, entries)
    assert includes(tree.root(), len(entries), place, entries[place], path)


@settings(max_examples=200, deadline=None)
@given(st.data(), st.integers(1, 40))
def test_a_proof_proves_nothing_else(data: st.DataObject, size: int) -> None:
    entries = [b"entry %d" % number for number in range(size)]
    place = data.draw(st.integers(0, size - 1))
    tree = grown(entries, place)
    root, path = tree.root(), tree.inclusion_path()
    elsewhere = data.draw(st.integers(-2, size + 2).filter(lambda other: other != place))
    assert not includes(root, size, elsewhere, entries[place], path)
    assert not includes(root, size, place, b"another entry", path)
    assert not includes(root, size, place, entries[place], (*path, leaf_hash(b"")))
    assert not includes(leaf_hash(root), size, place, entries[place], path)
    if path:
        assert not includes(root, size, place, entries[place], path[:-1])
        step = data.draw(st.integers(0, len(path) - 1))
        bent = [*path[:step], leaf_hash(path[step]), *path[step + 1 :]]
        assert not includes(root, size, place, entries[place], bent)


def test_a_node_cannot_be_passed_off_as_an_entry() -> None:
    left, right = leaf_hash(b"one"), leaf_hash(b"two")
    root = grown([b"one", b"two"]).root()
    assert node_hash(left, right) == root
    assert not includes(root, 1, 0, left + right, ())


def test_a_tree_keeps_only_as_many_hashes_as_its_size_has_digits() -> None:
    tree = MerkleTree(watched=700)
    for number in range(1, 3000):
        tree.append(number.to_bytes(4, "big"))
        kept = len(tree._roots) + len(tree._path)
        assert kept <= 2 * number.bit_length()


def test_an_entry_that_did_not_come_has_no_path() -> None:
    for tree in (grown([b"one"]), grown([b"one"], watched=1), MerkleTree(watched=0)):
        with pytest.raises(IndexError, match="not among"):
            tree.inclusion_path()
