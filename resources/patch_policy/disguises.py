"""What a file system may take a name for: `.git` in every disguise, and the other special files.

HFS+ ignores characters that nobody sees; NTFS ignores case, trailing dots and blanks, knows short
names (`git~1`) and streams (`.git::$INDEX_ALLOCATION`), and separates folders by `\\` too. Git
knows these disguises (`core.protectHFS`, `core.protectNTFS`); we refuse a little more than git.
"""

import re
import unicodedata
from collections.abc import Collection
from functools import lru_cache

INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""Characters that are never seen (Unicode: Default_Ignorable_Code_Point, and annotations)."""

_SHORT_NAMES: tuple[tuple[str, str, str], ...] = (
    # name, its first letters in short names, the letters in its hashed short names
    (".git", "git", ""),
    (".gitmodules", "gitmod", "gi7eba"),
    (".gitattributes", "gitatt", "gi7d29"),
    (".gitignore", "gitign", "gi250a"),
    (".mailmap", "mailma", "maba30"),
)
_SPECIAL = frozenset(name for name, _, _ in _SHORT_NAMES)
_SEPARATORS = re.compile(r"[/\\]")


def components(path: str) -> list[str]:
    """The names in a path, as Windows would separate them too."""
    return _SEPARATORS.split(path)


def folded_all(names: Collection[str]) -> list[str]:
    """`folded` for many names, in one go where they are plain."""
    together = "\0".join(names)
    if names and together.isascii():
        return together.lower().split("\0")
    return [folded(name) for name in names]


def folded(name: str) -> str:
    """What two names have in common that a file system may take for the same."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


@lru_cache(maxsize=65536)
def stands_for(name: str) -> str | None:
    """The special file that some file system takes `name` for: `.git`, `.gitmodules`...; or None.

    A special name itself stands for itself.
    """
    seen = INVISIBLE.sub("", name)
    if not seen.isascii():
        seen = unicodedata.normalize("NFKC", seen)
    seen = seen.casefold().partition(":")[0].rstrip(" .")
    if seen in _SPECIAL:
        return seen
    start, tilde, number = seen.partition("~")
    if not tilde or not number.isascii() or not number.isdigit():
        return None
    for special, first, hashed in _SHORT_NAMES:
        if start == first or (hashed and len(start) >= 2 and hashed.startswith(start)):
            return special
    return None
