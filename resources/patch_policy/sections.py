"""The text of a patch, file by file: what git wrote about each effect.

The text comes from git itself (`resources.effects.examine`), never from whoever made the patch.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from resources.effects import Change, Effect

_HUNK = re.compile(rb"@@ -\d+(?:,\d+)? \+(\d+)(?:,\d+)? @@")
_FILE = re.compile(rb"^diff --git ", re.MULTILINE)  # lines of files are never at the margin


@dataclass(frozen=True)
class Section:
    """What a patch does to the lines of one file.

    Attributes:
        effect: the file.
        added: new lines, each with its number in the new file, counted from 1.
        removed: old lines. Lines come without `\\n` but with their `\\r`.
    """

    effect: Effect
    added: tuple[tuple[int, bytes], ...]
    removed: tuple[bytes, ...]


def sections(change: Change) -> tuple[Section, ...]:
    """The patch's text, file by file.

    Raises:
        ValueError: the text is not that of the effects.
    """
    starts = [found.start() for found in _FILE.finditer(change.diff)]
    texts = [change.diff[a:b] for a, b in pairwise([*starts, None])]
    owners: list[Effect] = []
    for effect in change.effects:  # a change of type is written as a deletion and a creation
        owners += [effect] * (2 if effect.change == "type_changed" else 1)
    if len(owners) != len(texts):
        raise ValueError(f"{len(texts)} files in the text of a patch with {len(owners)} effects")
    return tuple(_section(effect, text) for effect, text in zip(owners, texts, strict=True))


def _section(effect: Effect, text: bytes) -> Section:
    added: list[tuple[int, bytes]] = []
    removed: list[bytes] = []
    for number, kind, line in _lines(text):
        if kind == b"+":
            added.append((number, line))
        elif kind == b"-":
            removed.append(line)
    return Section(effect, tuple(added), tuple(removed))


def _lines(text: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Lines of hunks: number in the new file, kind, line."""
    number: int | None = None
    for line in text.split(b"\n"):
        if found := _HUNK.match(line):
            number = int(found[1])
        elif number is not None and line[:1] in (b" ", b"+", b"-"):
            yield number, line[:1], line[1:]
            number += line[:1] != b"-"
