"""What a patch really does: the effect set of two trees, read from git and never from patch text.

Source: design section 4 step 5 and section 6 ("An effect is ...").
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from resources.repository import Repository

CHANGES = {
    "A": "added",
    "M": "modified",
    "D": "deleted",
    "R": "renamed",
    "C": "copied",
    "T": "type_changed",
}


@dataclass(frozen=True)
class Effect:
    """One path that a patch changes.

    Modes are git's octal spelling, `000000` for "not there"; blob ids are full object names.
    """

    path: str
    change: str
    old_path: str | None
    old_mode: str
    new_mode: str
    old_blob: str
    new_blob: str

    def to_json(self) -> dict[str, str | None]:
        """The pinned spelling: path, change, old_path, old_mode, new_mode."""
        document = asdict(self)
        names = {k: v and printable(v) for k, v in document.items() if k.endswith("path")}
        document |= names
        return {k: document[k] for k in ("path", "change", "old_path", "old_mode", "new_mode")}


@dataclass(frozen=True)
class Size:
    """How much a patch changes, in lines and hunks; binary files count no lines."""

    insertions: int
    deletions: int
    binaries: tuple[str, ...]


def printable(path: str) -> str:
    """A path for people and databases: bytes that are no UTF-8 are spelled `\\xe9`."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def examine(repository: Repository, base: str, tree: str) -> tuple[tuple[Effect, ...], Size]:
    """Effects, in path order with renames found, and size of going from `base` to `tree`."""
    done = repository.on_objects(
        *("diff-tree", "-r", "--raw", "--numstat", "-z", "-M", "--full-index", base, tree)
    )
    fields = iter(done.stdout.decode("utf-8", "surrogateescape").split("\0"))
    effects: list[Effect] = []
    insertions = deletions = 0
    binaries: list[str] = []
    for field in fields:
        if field.startswith(":"):
            effects.append(_effect(field, fields))
        elif field:
            added, removed, path = field.split("\t", 2)
            if not path:  # a rename: its old and new path follow
                _, path = next(fields), next(fields)
            if added == "-":
                binaries.append(path)
            else:
                insertions, deletions = insertions + int(added), deletions + int(removed)
    return tuple(effects), Size(insertions, deletions, tuple(binaries))


def _effect(head: str, fields: Iterator[str]) -> Effect:
    old_mode, new_mode, old_blob, new_blob, status = head.removeprefix(":").split(" ")
    path = next(fields)
    old_path = None
    if status[0] in "RC":
        old_path, path = path, next(fields)
    return Effect(path, CHANGES[status[0]], old_path, old_mode, new_mode, old_blob, new_blob)


def diff_text(repository: Repository, base: str, tree: str) -> bytes:
    """The patch itself: full index lines and binary data, so that it applies exactly."""
    return repository.on_objects(
        *("diff-tree", "-r", "-p", "--binary", "--full-index", "-M"),
        *("--no-ext-diff", "--no-textconv", "--no-color", base, tree),
    ).stdout
