"""What a patch really does: the effect set of two trees, read from git and never from patch text.

Source: design section 4 step 5 and section 6 ("An effect is ...").
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import NamedTuple, Protocol

from resources.git.command import UNTRUSTED
from resources.git.repository import Repository

MAX_INFLATED_BYTES = 8 * 1024 * 1024
"""How much a patch may be as files, and how much of them is looked at (design section 6)."""
CHANGES = {
    "A": "added",
    "M": "modified",
    "D": "deleted",
    "R": "renamed",
    "C": "copied",
    "T": "type_changed",
}
ABSENT = "000000"
REGULAR, EXECUTABLE, SYMLINK, SUBMODULE = "100644", "100755", "120000", "160000"
"""Modes in git's octal spelling; `ABSENT` is "not there"."""

_TRACKED = re.compile(r"([0-7]{6}) [a-z]+ ([0-9a-f]+)\t([^\0]+)\0")


@dataclass(frozen=True)
class Effect:
    """One path that a patch changes.

    Blob ids are full object names.
    """

    path: str
    change: str
    old_path: str | None
    old_mode: str
    new_mode: str
    old_blob: str
    new_blob: str

    @property
    def touched(self) -> tuple[tuple[str, bool], ...]:
        """Its paths, each with whether it comes into being there: a rename is two things."""
        if self.old_path is not None and self.change == "renamed":
            return ((self.old_path, False), (self.path, True))
        return ((self.path, self.old_mode == ABSENT or self.change == "copied"),)

    def to_json(self) -> dict[str, str | None]:
        """The pinned spelling: path, change, old_path, old_mode, new_mode."""
        document = asdict(self)
        names = {k: v and spelled(v) for k, v in document.items() if k.endswith("path")}
        document |= names
        return {k: document[k] for k in ("path", "change", "old_path", "old_mode", "new_mode")}


@dataclass(frozen=True)
class Size:
    """How much a patch changes, in lines and hunks; binary files count no lines."""

    insertions: int
    deletions: int
    binaries: tuple[str, ...]


class TrackedFile(NamedTuple):
    """A file of the base: its mode in git's octal spelling, and its blob."""

    mode: str
    blob: str


class Files(Protocol):
    """Where a change's files can be looked up."""

    def tracked(self) -> Mapping[str, TrackedFile]:
        """Every file of the base, by path."""
        ...

    def read(self, blobs: Sequence[str]) -> Mapping[str, bytes]:
        """Contents by blob; what is too large to be judged is missing."""
        ...


@dataclass(frozen=True)
class KnownFiles:
    """Files given as plain data."""

    files: Mapping[str, TrackedFile] = field(default_factory=dict)
    contents: Mapping[str, bytes] = field(default_factory=dict)

    def tracked(self) -> Mapping[str, TrackedFile]:
        """Every file of the base, by path."""
        return self.files

    def read(self, blobs: Sequence[str]) -> Mapping[str, bytes]:
        """Contents by blob."""
        return {blob: self.contents[blob] for blob in blobs if blob in self.contents}


@dataclass(frozen=True)
class Change:
    """What a patch does: its effects, how much it is, and its text, which applies exactly.

    The base's files and the contents of blobs are looked up when a rule asks for them, each once.
    """

    effects: tuple[Effect, ...]
    size: Size
    diff: bytes
    files: Files = field(default_factory=KnownFiles, compare=False, repr=False)
    _read: dict[str, bytes | None] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def paths(self) -> frozenset[str]:
        """Every path it touches, those that renames leave included."""
        return frozenset(p for e in self.effects for p in (e.path, e.old_path) if p)

    @cached_property
    def tracked(self) -> Mapping[str, TrackedFile]:
        """Every file of the base, by path."""
        return self.files.tracked()

    def contents(self, blobs: Iterable[str]) -> Mapping[str, bytes | None]:
        """Contents by blob; None for one that is too large to be judged."""
        asked = tuple(dict.fromkeys(blobs))
        if missing := [blob for blob in asked if blob not in self._read]:
            self._read.update(dict.fromkeys(missing) | dict(self.files.read(missing)))
        return {blob: self._read[blob] for blob in asked}


@dataclass(frozen=True)
class StoredFiles:
    """Files of a repository: the tree `base`, and every blob."""

    repository: Repository
    base: str

    def tracked(self) -> Mapping[str, TrackedFile]:
        """Every file of the base, by path."""
        done = self.repository.on_objects("ls-tree", "-r", "-z", "--full-tree", self.base)
        listed = done.stdout.decode("utf-8", "surrogateescape")
        return {path: TrackedFile(mode, blob) for mode, blob, path in _TRACKED.findall(listed)}

    def read(self, blobs: Sequence[str]) -> Mapping[str, bytes]:
        """Contents by blob, up to `MAX_INFLATED_BYTES` in all; what is beyond is missing."""
        listed = "".join(f"{blob}\n" for blob in blobs).encode()
        checked = self.repository.on_objects("cat-file", "--batch-check", stdin=listed).stdout
        sizes = {blob: int(size) for blob, _, size in map(str.split, checked.decode().splitlines())}
        left, fitting = MAX_INFLATED_BYTES, list[str]()
        for blob, size in sizes.items():
            if size <= left:
                fitting.append(blob)
                left -= size
        listed = "".join(f"{blob}\n" for blob in fitting).encode()
        output = self.repository.on_objects("cat-file", "--batch", stdin=listed).stdout
        contents: dict[str, bytes] = {}
        at = 0
        for blob in fitting:
            begin = output.index(b"\n", at) + 1
            at = begin + sizes[blob]
            contents[blob] = output[begin:at]
            at += 1
        return contents


def spelled(path: str) -> str:
    """A path for programs and databases: bytes that are no UTF-8 are written `\\xe9`."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


LONGEST_SHOWN = 400
"""Characters of a path that are shown to people."""


def printable(path: str) -> str:
    """A path for people's eyes: what cannot be seen, or moves the cursor, is written `\\u202e`."""
    text = spelled(path)
    if len(text) > LONGEST_SHOWN:  # a name may be as long as a patch
        text = f"{text[: LONGEST_SHOWN // 2]} ... {text[-LONGEST_SHOWN // 2 :]}"
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def examine(repository: Repository, base: str, tree: str) -> Change:
    """What going from `base` to `tree` does: effects in path order with renames found, and how.

    One git command says it all. It runs blind to attributes and configuration, so that no file of
    the repository can make a change look smaller than it is.

    Raises:
        GitOverrunError: comparing takes more than `UNTRUSTED`: two large files of random lines.
    """
    done = repository.on_objects(
        *("diff-tree", "-r", "--raw", "--numstat", "-p", "-z", "--binary", "--full-index", "-M"),
        *("--no-ext-diff", "--no-textconv", "--no-color", base, tree),
        bounds=UNTRUSTED,
    )
    effects: list[Effect] = []
    insertions = deletions = 0
    binaries: list[str] = []
    records = _Records(done.stdout)
    for record in records:
        if record.startswith(":"):
            effects.append(_effect(record, records))
            continue
        added, removed, path = record.split("\t", 2)
        if not path:  # a rename: its old and new path follow
            _, path = next(records), next(records)
        if added == "-":
            binaries.append(path)
        else:
            insertions, deletions = insertions + int(added), deletions + int(removed)
    size = Size(insertions, deletions, tuple(binaries))
    return Change(tuple(effects), size, records.rest, StoredFiles(repository, base))


class _Records:
    """The NUL-terminated records before a patch; an empty one ends them."""

    def __init__(self, output: bytes) -> None:
        self._output, self._at = output, 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        end = self._output.find(b"\0", self._at)
        if end <= self._at:
            raise StopIteration
        record, self._at = self._output[self._at : end], end + 1
        return record.decode("utf-8", "surrogateescape")

    @property
    def rest(self) -> bytes:
        """What follows the records: the patch."""
        return self._output[self._at + 1 :]


def _effect(head: str, fields: Iterator[str]) -> Effect:
    old_mode, new_mode, old_blob, new_blob, status = head.removeprefix(":").split(" ")
    path = next(fields)
    old_path = None
    if status[0] in "RC":
        old_path, path = path, next(fields)
    return Effect(path, CHANGES[status[0]], old_path, old_mode, new_mode, old_blob, new_blob)
