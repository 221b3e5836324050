"""Writes patches as git writes them, from the base's files and from what they shall become.

Nothing here asks git: hostile patches say what git would never write.
"""

import base64
import difflib
import hashlib
import re
import zlib
from collections.abc import Sequence
from functools import lru_cache

from tests.hostile.base import BASE, FILE, File

NULL_ID = "0" * 40
_ESCAPES = {7: "a", 8: "b", 9: "t", 10: "n", 11: "v", 12: "f", 13: "r", 34: '"', 92: "\\"}
_ODD = re.compile(rb'[\x00-\x1f"\\\x7f-\xff]')


def raw(path: str) -> bytes:
    """A path's bytes; those that are no UTF-8 are spelled as lone surrogates in `path`."""
    return path.encode("utf-8", "surrogateescape")


def quoted(path: str, prefix: str = "") -> bytes:
    """A name in a header, in C style where git would quote it."""
    name = raw(prefix + path)
    if not _ODD.search(name):
        return name
    escaped = _ODD.sub(lambda m: _escape(m.group()[0]).encode(), name)
    return b'"' + escaped + b'"'


def _escape(byte: int) -> str:
    return "\\" + (_ESCAPES.get(byte) or f"{byte:03o}")


def blob_id(data: bytes) -> str:
    """The name git gives to these bytes."""
    return hashlib.sha1(b"blob %d\0%s" % (len(data), data)).hexdigest()


def header(old: str, new: str) -> bytes:
    """`diff --git a/old b/new`."""
    return b"diff --git " + quoted(old, "a/") + b" " + quoted(new, "b/") + b"\n"


def names(old: str | None, new: str | None) -> bytes:
    """The two lines with `---` and `+++`; None is `/dev/null`."""
    spelled = [
        b"/dev/null" if path is None else _with_tab(quoted(path, prefix))
        for path, prefix in ((old, "a/"), (new, "b/"))
    ]
    return b"--- %s\n+++ %s\n" % (spelled[0], spelled[1])


def _with_tab(name: bytes) -> bytes:
    """Git ends a name with a blank in it by a tab."""
    return name + b"\t" if b" " in name and not name.startswith(b'"') else name


def hunks(old: bytes, new: bytes, context: int = 3) -> bytes:
    """The hunks between two texts."""
    before, after = _lines(old), _lines(new)
    if not before or not after:
        return _all_lines(before, after)
    made = list(difflib.unified_diff(before, after, n=context, lineterm="\n"))[2:]
    marked = (
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in made
    )
    return "".join(marked).encode("latin-1")


def _all_lines(before: list[str], after: list[str]) -> bytes:
    """The one hunk of a file that comes or goes."""
    counts = [f"{min(1, n)},{n}" if n != 1 else "1" for n in (len(before), len(after))]
    sign, lines = ("-", before) if before else ("+", after)
    text = f"@@ -{counts[0]} +{counts[1]} @@\n" + "".join(sign + line for line in lines)
    text += "" if text.endswith("\n") else "\n\\ No newline at end of file\n"
    return text.encode("latin-1")


def _lines(data: bytes) -> list[str]:
    """Lines that end at a newline only, a character for each byte."""
    return [part for part in re.split(r"(?<=\n)", data.decode("latin-1")) if part]


def change(
    old_path: str, old: File | None, new_path: str, new: File | None, *, said: bytes = b""
) -> bytes:
    """A whole file's part of a git patch. `said` are header lines of one's own, before `index`."""
    text = header(old_path, new_path)
    if old is None:
        text += f"new file mode {new.mode if new else FILE}\n".encode()
    elif new is None:
        text += f"deleted file mode {old.mode}\n".encode()
    elif old.mode != new.mode:
        text += f"old mode {old.mode}\nnew mode {new.mode}\n".encode()
    text += said
    before, after = old.data if old else b"", new.data if new else b""
    if before == after:
        return text
    ids = (blob_id(before) if old else NULL_ID, blob_id(after) if new else NULL_ID)
    mode = f" {old.mode}" if old and new and old.mode == new.mode else ""
    text += f"index {ids[0]}..{ids[1]}{mode}\n".encode()
    text += names(old_path if old else None, new_path if new else None)
    return text + hunks(before, after)


def edit(path: str, old: bytes | str, new: bytes | str) -> bytes:
    """Replace some text of a file of the base by another, once."""
    file = BASE[path]
    found, instead = _bytes(old), _bytes(new)
    assert found in file.data, path
    return rewrite(path, file.data.replace(found, instead, 1))


def rewrite(path: str, data: bytes) -> bytes:
    """Give a file of the base other contents."""
    return change(path, BASE[path], path, File(BASE[path].mode, data))


def create(path: str, data: bytes | str = "new\n", mode: str = FILE) -> bytes:
    """Add a file."""
    return change(path, None, path, File(mode, _bytes(data)))


def delete(path: str) -> bytes:
    """Delete a file of the base."""
    return change(path, BASE[path], path, None)


def chmod(path: str, mode: str) -> bytes:
    """Give a file of the base another mode."""
    return change(path, BASE[path], path, File(mode, BASE[path].data))


def rename(old: str, new: str, data: bytes | None = None) -> bytes:
    """Rename a file of the base, perhaps with other contents."""
    return _moved("rename", old, new, data)


def copy(old: str, new: str, data: bytes | None = None) -> bytes:
    """Copy a file of the base, perhaps with other contents."""
    return _moved("copy", old, new, data)


def _moved(verb: str, old: str, new: str, data: bytes | None) -> bytes:
    file = BASE[old]
    likeness = 100 if data in (None, file.data) else 80
    said = f"similarity index {likeness}%\n{verb} from ".encode() + quoted(old)
    said += f"\n{verb} to ".encode() + quoted(new) + b"\n"
    after = File(file.mode, file.data if data is None else data)
    return change(old, file, new, after, said=said)


def plain(old: str, new: str, hunk: bytes) -> bytes:
    """A unified diff without git's header; names as they are."""
    return b"--- " + raw(old) + b"\n+++ " + raw(new) + b"\n" + hunk


def binary(path: str, data: bytes, mode: str = FILE, said_size: int | None = None) -> bytes:
    """A file as a binary literal: a new one, or in place of the base's."""
    old = BASE.get(path)
    text = header(path, path) + (b"" if old else f"new file mode {mode}\n".encode())
    before = old.data if old else b""
    ids = (blob_id(before) if old else NULL_ID, blob_id(data))
    kept = f" {old.mode}" if old else ""
    text += f"index {ids[0]}..{ids[1]}{kept}\nGIT binary patch\n".encode()
    text += chunk("literal", data, said_size)
    return text + chunk("literal", before)


def binary_delta(path: str, commands: bytes, size: int, result_id: str = "1" * 40) -> bytes:
    """A binary delta on a file of the base, whose commands are said to make `size` bytes."""
    old = BASE[path]
    text = header(path, path)
    text += f"index {blob_id(old.data)}..{result_id} {old.mode}\nGIT binary patch\n".encode()
    delta = varint(len(old.data)) + varint(size) + commands
    return text + chunk("delta", delta) + chunk("delta", varint(size) + varint(len(old.data)))


def chunk(kind: str, data: bytes, said_size: int | None = None) -> bytes:
    """One half of a binary patch."""
    said = len(data) if said_size is None else said_size
    packed = _packed(data)
    made = [f"{kind} {said}\n".encode()]
    for start in range(0, len(packed), 52):
        part = packed[start : start + 52]
        length = chr(len(part) + 64) if len(part) <= 26 else chr(len(part) + 70)
        made.append(length.encode() + base64.b85encode(part, pad=True) + b"\n")
    return b"".join([*made, b"\n"])


@lru_cache(maxsize=8)
def _packed(data: bytes) -> bytes:
    return zlib.compress(data, 9)


def varint(number: int) -> bytes:
    """A size at the head of a delta."""
    made = bytearray()
    while number > 127:
        made.append(number & 127 | 128)
        number >>= 7
    return bytes([*made, number])


def copy_command(size: int) -> bytes:
    """A delta's command that copies `size` bytes (up to 64 KiB) from the start of the base."""
    if size == 0x10000:
        return b"\x80"
    return bytes([0x80 | 0x10 | 0x20, size & 255, size >> 8])


def mail(patch: bytes, subject: str = "Do it", body: str = "Because.\n") -> bytes:
    """A patch as `git format-patch` sends it."""
    head = (
        f"From {'1' * 40} Mon Sep 17 00:00:00 2001\nFrom: Ann <ann@example.org>\n"
        f"Date: Sat, 1 Nov 2025 10:00:00 +0000\nSubject: [PATCH] {subject}\n\n{body}---\n"
        " a.txt | 2 +-\n 1 file changed, 1 insertion(+), 1 deletion(-)\n\n"
    )
    return head.encode() + patch + b"-- \n2.39.5\n\n"


def joined(patches: Sequence[bytes]) -> bytes:
    """Several files' parts as one patch."""
    return b"".join(patches)


def _bytes(text: bytes | str) -> bytes:
    return text.encode() if isinstance(text, str) else text
