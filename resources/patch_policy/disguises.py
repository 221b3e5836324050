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

_PICTURE = (
    "[\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u21ff\u2300-\u23ff\u24c2\u25a0-\u27bf"
    "\u2900-\u297f\u2b00-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff]"
)
_PICTURE_ENDS = f"{_PICTURE[:-1]}\ufe0f]"
_JOINING = "[\u0620-\u065f\u066e-\u06d3\u06d5\u06fa-\u06ff\u0710-\u074f\u0750-\u077f\u08a0-\u08e1]"
"""Letters and marks of Arabic, Persian, Urdu and Syriac, which join to each other or not."""
_INDIC = "[\u0900-\u0963\u0971-\u0dff\u1000-\u109f\u1780-\u17d3]"
"""Letters and marks from Devanagari to Sinhala, Burmese and Khmer."""
_VIRAMA = (
    "[\u094d\u09cd\u0a4d\u0acd\u0b4d\u0bcd\u0c4d\u0ccd\u0d3b\u0d3c\u0d4d\u0dca\u1039\u103a\u17d2]"
)
SPELLING = re.compile(
    rf"(?<={_PICTURE})[\ufe0e\ufe0f]|(?<=[0-9])\ufe0f(?=\u20e3)"
    rf"|(?<={_PICTURE_ENDS})\u200d(?={_PICTURE})"
    rf"|(?<={_JOINING})\u200c(?={_JOINING})|(?<={_JOINING})\u200d"
    rf"|(?<={_INDIC})[\u200c\u200d](?={_INDIC})|(?<={_VIRAMA})[\u200c\u200d]"
)
"""Invisible characters where writing needs them: they join or part letters, or make one emoji.

After Unicode's annexes 31 (2.3, contexts A1, A2, B) and 51 (emoji sequences). File systems that
pass over them see two names with and without them as one: `folded` does too.
"""

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
    if not INVISIBLE.search(SPELLING.sub("", name)):  # a name with others is refused for them
        name = INVISIBLE.sub("", name)
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
