"""Names that no patch may use: disguises of `.git`, ways out, invisible text, Windows' devices.

Rules about a single path, without any context. A file that is there already may have an odd name,
and a patch may change it; but it may neither be `.git` nor be no text at all.
"""

import re
import unicodedata
from collections.abc import Iterator

from resources.effects import Change, printable
from resources.patch_policy.disguises import INVISIBLE, SPELLING, components, stands_for
from resources.patch_policy.reasons import Reason, about

LONGEST_NAME = 255
"""Bytes; more cannot be checked out on common file systems."""
LONGEST_PATH = 4000
"""Bytes; Linux takes 4096 with the folder that the checkout is in."""

_DRIVE = re.compile(r"[A-Za-z]:")
_DEVICE = re.compile(
    r"(?:con|prn|aux|nul|conin\$|conout\$|clock\$|(?:com|lpt)[0-9\u00b9\u00b2\u00b3]) *(?:[.:].*)?",
    re.IGNORECASE | re.DOTALL,
)
_NOT_ON_WINDOWS = re.compile(r'[<>:"|?*\\]')


def ill_named(change: Change) -> Iterator[Reason]:
    """Every path of a patch whose name is refused, with each reason once."""
    paths: dict[str, bool] = {}
    for effect in change.effects:
        for path, created in effect.touched:
            paths[path] = created or paths.get(path, False)
    for path, created in paths.items():
        yield from name_problems(path, created)


def name_problems(path: str, created: bool = True) -> Iterator[Reason]:
    """What is wrong with a path; `created` says that it is new."""
    if (text := _outside(path)) or (text := _git_dir(path)):
        yield about(path, *text)
    if not _is_text(path):
        yield about(path, "path_characters", f"{printable(path)} is not valid UTF-8")
    if created:
        if text := _unseen(path):
            yield about(path, "path_characters", f"{printable(path)} {text}")
        yield from _hard_to_handle(path)
        if text := _not_on_windows(path):
            yield about(path, "windows_name", f"{printable(path)}: {text}")


def _outside(path: str) -> tuple[str, str] | None:
    parts = components(path)
    shown = printable(path)
    if path[:1] in ("/", "\\") or _DRIVE.match(path):
        return "path_escape", f"{shown} is an absolute path"
    if ".." in parts:
        return "path_escape", f"{shown} leads out of its folder"
    if "" in parts or "." in parts:
        return "path_escape", f"{shown} is no plain relative path"
    return None


def _git_dir(path: str) -> tuple[str, str] | None:
    for part in components(path):
        if stands_for(part) == ".git":
            return "git_dir", f"{printable(path)}: {printable(part)} may be taken for .git"
    return None


def _is_text(path: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in path)


def _unseen(path: str) -> str | None:
    """Which character of a path people cannot see, and no script needs where it stands."""
    for character in SPELLING.sub("", path):
        kind = unicodedata.category(character)
        if kind in ("Cc", "Cf", "Zl", "Zp") or INVISIBLE.match(character):
            return f"has the character U+{ord(character):04X}, which cannot be seen"
    return None


def _hard_to_handle(path: str) -> Iterator[Reason]:
    """Names that commands take for something else, or that cannot be checked out."""
    shown = printable(path)
    for part in path.split("/"):
        if part.startswith("-"):
            text = f"{shown}: a name that begins with a dash is taken for an option"
            yield about(path, "path_characters", text)
        if part != part.strip():
            text = f"{shown}: a name begins or ends with a blank"
            yield about(path, "path_characters", text)
    longest = max(len(part.encode("utf-8", "surrogateescape")) for part in path.split("/"))
    whole = len(path.encode("utf-8", "surrogateescape"))
    if longest > LONGEST_NAME or whole > LONGEST_PATH:
        text = f"a name of {longest} bytes in a path of {whole}"
        text += f"; allowed are {LONGEST_NAME} and {LONGEST_PATH}"
        yield about(path, "path_characters", text)


def _not_on_windows(path: str) -> str | None:
    for part in path.split("/"):
        if _DEVICE.fullmatch(part):
            return f"{printable(part)} is a device on Windows"
        if found := _NOT_ON_WINDOWS.search(part):
            return f"{found[0]} cannot be in a name on Windows"
        if part.endswith((".", " ")) and part not in (".", ".."):
            return "Windows drops a dot or blank at the end of a name"
    return None
