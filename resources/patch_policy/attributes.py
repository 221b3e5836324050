"""`.gitattributes` that name drivers: programs, or built-in code, that rewrite or hide content.

The file is protected in any case; a plan that allows it still does not allow drivers.
"""

import re
from collections.abc import Iterator

from resources.effects import ABSENT, Change, printable
from resources.patch_policy.disguises import stands_for
from resources.patch_policy.reasons import Reason, about

_PATTERN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|\S+)(.*)', re.DOTALL)
_DRIVER = re.compile(r"(?:filter|diff|merge)=.*|working-tree-encoding(?:=.*)?|ident", re.DOTALL)


def attribute_drivers(change: Change) -> Iterator[Reason]:
    """Attributes files that gain a `filter=`, `diff=`, `merge=`, an encoding, or `ident`."""
    files = [
        effect
        for effect in change.effects
        if effect.new_mode != ABSENT
        and stands_for(effect.path.rpartition("/")[2]) == ".gitattributes"
    ]
    if not files:
        return
    root = change.tracked.get(".gitattributes")
    blobs = {effect.new_blob for effect in files} | ({root.blob} if root else set())
    blobs |= {effect.old_blob for effect in files if effect.old_mode != ABSENT}
    contents = change.contents(blobs)
    macros = _macros((root and contents[root.blob]) or b"")
    for effect in files:
        new, old = contents[effect.new_blob], contents.get(effect.old_blob) or b""
        if effect.change == "renamed":
            old = b""  # the same lines mean something else in another folder
        shown = printable(effect.path)
        if new is None:
            yield about(effect.path, "oversize", f"{shown} is too large to be judged")
            continue
        known = macros | _macros(new)
        if named := sorted(_drivers(new, known) - _drivers(old, known)):
            text = f"{shown} names {', '.join(printable(word) for _, word in named[:5])}"
            yield about(effect.path, "attributes", f"{text}; no patch may")


def _lines(content: bytes) -> Iterator[tuple[str, str, list[str]]]:
    """Lines of an attributes file: as they are, what they are about, the attributes."""
    for line in content.decode("utf-8", "surrogateescape").removeprefix("\ufeff").split("\n"):
        if not line.lstrip(" \t\r").startswith("#") and (read := _PATTERN.match(line)):
            yield line.strip(), read[1], read[2].split()


def _macros(content: bytes) -> set[str]:
    """Macros of an attributes file that stand for a driver."""
    macros: set[str] = set()
    for _, subject, words in _lines(content):  # a macro may use those before it
        name = subject.removeprefix("[attr]")
        if name != subject and any(_DRIVER.fullmatch(word) or word in macros for word in words):
            macros.add(name)
    return macros


def _drivers(content: bytes, macros: set[str]) -> set[tuple[str, str]]:
    """Each driver that attributes name, with its line: (line, attribute)."""
    return {
        (line, word)
        for line, _, words in _lines(content)
        for word in words
        if _DRIVER.fullmatch(word) or word in macros
    }
