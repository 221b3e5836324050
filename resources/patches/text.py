"""What a patch text says that it does; nothing is applied here.

Reads unified diffs as git writes them and plain ones (`diff -u`), with or without mail around them
(`git format-patch`). It is stricter than git: what git passes over, such as lines behind a hunk
that its numbers do not count, is an error. Nobody trusts the answer: effects are judged, and a text
that says something else than its effects is refused (`resources.patches.declared`).

Source: design section 6, "Patch limits".
"""

import re
from dataclasses import dataclass

from resources.effects import EXECUTABLE, REGULAR, SUBMODULE, SYMLINK, printable, spelled
from resources.patch_policy import Reason
from resources.patch_policy.names import name_problems
from resources.patches.hunks import HUNK, NO_DATA, Body, Lines, Refused, plain_begins, read_body
from resources.patches.names import (
    WITHOUT_PREFIX,
    BadName,
    header_name,
    header_says,
    plain,
    side_name,
    stripped,
)

FILE_MODES = frozenset({REGULAR, EXECUTABLE, SYMLINK, SUBMODULE})
GIT_HEADER = b"diff --git "

_MODE = re.compile(rb"[0-7]{1,12}")
_INDEX = re.compile(rb"[0-9a-f]{4,64}\.\.[0-9a-f]{4,64}(?: ([0-7]{1,12}))?")
_EPOCH = re.compile(rb"\t(?:1970-01-01|1969-12-31) ")
_KEYS = (
    *("old mode ", "new mode ", "deleted file mode ", "new file mode "),
    *("copy from ", "copy to ", "rename from ", "rename to "),
    *("similarity index ", "dissimilarity index ", "index ", "--- ", "+++ "),
)
"""How the lines between `diff --git` and the first hunk begin."""
_CONVERTED = (
    "the lines of the patch end with CR LF: it was converted on its way; "
    "let git write the file itself: git diff --binary --output=FILE"
)
_MOVES = ("rename", "copy")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class Declared:
    """What a text says about one file.

    Attributes:
        old_path: the file that it starts from; None when the file is created.
        new_path: the file that comes of it; None when the file is deleted.
        change: as for an effect, or `changed` where a plain diff leaves open whether the file is
            there before or after.
        old_mode: in git's octal spelling, if it is said.
        new_mode: likewise.
        body: the hunks, and how much they add.
    """

    old_path: str | None
    new_path: str | None
    change: str
    old_mode: str | None
    new_mode: str | None
    body: Body

    @property
    def path(self) -> str:
        """The path to speak of."""
        return self.new_path or self.old_path or ""


@dataclass(frozen=True)
class PatchText:
    """What a whole text says, in its order."""

    files: tuple[Declared, ...]

    @property
    def hunks(self) -> int:
        """Hunks of all files together."""
        return sum(file.body.hunks for file in self.files)


def read_patch_text(data: bytes) -> PatchText | Reason:
    """Read what a patch text says about files, or why it cannot be taken for a patch.

    The reason is `empty` or `malformed`, or speaks of a name or mode that no file may have
    (`path_escape`, `path_characters`, `mode`), or of a text that contradicts itself
    (`declared_mismatch`).
    """
    if not data.strip():
        return Reason("empty", "the patch is empty")
    if data.startswith(_UTF16):
        how = "let git write the file itself: git diff --binary --output=FILE"
        return Reason("malformed", f"the text is UTF-16, as some shells write it; {how}")
    lines, files = Lines(data), list[Declared]()
    try:
        while (line := lines.peek()) is not None:
            if line.startswith(GIT_HEADER):
                files.append(_git_file(lines))
            elif plain_begins(lines):
                files.append(_plain_file(lines))
            else:
                _refuse_stray(line, lines)
                lines.take()  # a mail's header, a commit's message, what `diff` says besides
    except Refused as refused:
        return refused.reason
    except BadName as bad:
        return Reason(bad.code, str(bad), bad.path)
    if not files:
        return Reason("malformed", "the text holds no diff that git could apply")
    return PatchText(tuple(files))


def _refuse_stray(line: bytes, lines: Lines) -> None:
    """What belongs to a diff and yet to no file would be passed over by git."""
    if line.startswith((b"@@ -", b"GIT binary patch")):
        raise lines.malformed("a change that belongs to no file")
    if line.startswith((b"diff --cc ", b"diff --combined ", b"@@@ ")):
        raise lines.malformed("the diff of a merge cannot be applied")
    if NO_DATA.fullmatch(line):
        raise lines.without_data()


# -- diffs of git ----------------------------------------------------------------------------------


def _git_file(lines: Lines) -> Declared:
    header = lines.take()[len(GIT_HEADER) :]
    said = _head(lines)
    if any(line.endswith(b"\r") for line in (header, *said.values())):
        raise lines.malformed(_CONVERTED)
    if _is_without_prefix(header, said):
        raise lines.malformed(f"the name {WITHOUT_PREFIX}")
    old, new, change = _names(header, said, lines)
    old_mode, new_mode = _modes(said, lines)
    for mode in (old_mode, new_mode):
        if mode is not None and mode not in FILE_MODES:
            path = new or old or ""
            text = f"{printable(path)} is given the special mode {mode}"
            raise Refused("mode", text, spelled(path))
    body = read_body(lines)
    if change == "modified" and not body.hunks and old_mode == new_mode:
        raise lines.malformed("a file is named, and the text does not say how it changes")
    return Declared(old, new, change, old_mode, new_mode, body)


def _is_without_prefix(header: bytes, said: dict[str, bytes]) -> bool:
    """Whether a header names two files as they are, or the same one twice."""
    half = len(header) // 2
    moved = (said.get(f"{v} from ", b"") + b" " + said.get(f"{v} to ", b"") for v in _MOVES)
    return header[:half] + b" " + header[:half] == header or header in moved


def _head(lines: Lines) -> dict[str, bytes]:
    """The lines between `diff --git` and the first hunk, by what they begin with."""
    said: dict[str, bytes] = {}
    while (line := lines.peek()) is not None:
        key = next((key for key in _KEYS if line.startswith(key.encode())), None)
        if key is None or (key == "--- " and not lines.starts(b"--- ", b"+++ ")):
            break
        if key in said:
            raise lines.malformed(f"`{key.strip()}` comes twice for one file")
        said[key] = line[len(key) :]
        lines.take()
    return said


def _names(
    header: bytes, said: dict[str, bytes], lines: Lines
) -> tuple[str | None, str | None, str]:
    """Old path, new path, and what happens to the file; all that is said of them must agree."""
    change = _kind(said, lines)
    sides = (_side(said["--- "]), _side(said["+++ "])) if "--- " in said else None
    if change in ("renamed", "copied"):
        verb = "rename" if change == "renamed" else "copy"
        old, new = plain(said[f"{verb} from "]), plain(said[f"{verb} to "])
    elif sides:
        old, new = sides
        if None in sides and change == "modified":
            change = "added" if old is None else "deleted"
    elif name := header_name(header):
        old, new = (None if change == "added" else name), (None if change == "deleted" else name)
    else:
        raise lines.malformed("the name of the file cannot be read")
    path = new or old
    if path is None:
        raise lines.malformed("/dev/null on both sides")
    agree = {
        "added": old is None,
        "deleted": new is None,
        "modified": old == new,
    }.get(change, sides in (None, (old, new)))
    if not agree or not header_says(header, old or path, new or path):
        raise _contradiction(path)
    return old, new, change


def _kind(said: dict[str, bytes], lines: Lines) -> str:
    """What the head of a file says that happens to it."""
    kinds = {
        "added": "new file mode " in said,
        "deleted": "deleted file mode " in said,
        "renamed": "rename from " in said or "rename to " in said,
        "copied": "copy from " in said or "copy to " in said,
    }
    found = [kind for kind, so in kinds.items() if so]
    halves = any((f"{v} from " in said) != (f"{v} to " in said) for v in _MOVES)
    if len(found) > 1 or halves:
        raise lines.malformed("the head of a file contradicts itself")
    return found[0] if found else "modified"


def _modes(said: dict[str, bytes], lines: Lines) -> tuple[str | None, str | None]:
    """Old and new mode, as far as the head of a file says them."""
    modes: dict[str, str] = {}
    for key in ("old mode ", "new mode ", "deleted file mode ", "new file mode "):
        if key in said:
            if not _MODE.fullmatch(said[key]):
                raise lines.malformed(f"`{key.strip()}` is followed by no octal number")
            modes[key] = f"{int(said[key], 8):06o}"
    if ("old mode " in modes) != ("new mode " in modes):
        raise lines.malformed("a file has only one of `old mode` and `new mode`")
    old = modes.get("old mode ", modes.get("deleted file mode "))
    new = modes.get("new mode ", modes.get("new file mode "))
    if "index " in said:
        index = _INDEX.fullmatch(said["index "])
        if index is None:
            raise lines.malformed("an `index` line as git does not write it")
        if index[1] and not modes:
            old = new = f"{int(index[1], 8):06o}"
    return old, new


def _side(text: bytes) -> str | None:
    """The path behind `--- ` or `+++ `; None for /dev/null."""
    name = side_name(text)
    return None if name.rstrip() == b"/dev/null" else stripped(name)


def _contradiction(path: str) -> Refused:
    for reason in name_problems(path):
        if reason.code in ("path_escape", "git_dir"):
            return Refused(reason.code, reason.message, reason.path)
    text = f"{printable(path)}: the text names the file in two ways"
    return Refused("declared_mismatch", text, spelled(path))


# -- plain diffs -----------------------------------------------------------------------------------


def _plain_file(lines: Lines) -> Declared:
    before, after = lines.take()[4:], lines.take()[4:]
    if before.endswith(b"\r") or after.endswith(b"\r"):
        raise lines.malformed(_CONVERTED)
    old, new = _side(before), _side(after)
    path = new or old
    if path is None:
        raise lines.malformed("/dev/null on both sides")
    if side_name(before) == side_name(after) and not before.startswith((b"a/", b"b/")):
        raise lines.malformed(f"the name {WITHOUT_PREFIX}")
    if old and new and old != new:
        raise _contradiction(path)
    change = "added" if old is None else "deleted" if new is None else "modified"
    if change == "modified" and (_EPOCH.search(before) or _EPOCH.search(after) or _to_zero(lines)):
        change = "changed"  # git asks the base whether the file is there
    return Declared(old, new, change, None, None, read_body(lines))


def _to_zero(lines: Lines) -> bool:
    """Whether the first hunk has no lines on one side."""
    hunk = HUNK.match(lines.peek() or b"")
    return hunk is not None and b"0" in (hunk[2], hunk[4])
