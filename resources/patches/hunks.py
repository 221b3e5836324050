"""The body of one file's diff: hunks of lines, or git's binary patches.

Counts what they would add and refuses what is cut off or does not add up; see
`resources.patches.text`, which reads around it.
"""

import base64
import re
import zlib
from dataclasses import dataclass

from resources.patch_policy import Reason

HUNK = re.compile(rb"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@(?:[ \r]|$)")
NO_DATA = re.compile(rb"(?:Binary files|Files) .* differ\r?")

_BINARY = re.compile(rb"(literal|delta) (\d{1,15})")
_SIGNATURES = (b"-- ", b"--")
"""How a mail ends, right behind its last hunk."""
_DELTA_HEAD = 64
"""Bytes that surely hold the two sizes that a delta begins with."""


class Refused(Exception):
    """Ends the reading of a text; never leaves `read_patch_text`."""

    def __init__(self, code: str, message: str, path: str | None = None) -> None:
        self.reason = Reason(code, message, path)
        super().__init__(message)


@dataclass(frozen=True)
class Body:
    """What follows a file's head.

    Attributes:
        hunks: how many; a binary patch is one.
        grows: bytes of the added lines, or of a binary file's whole content and its delta.
        binary: whether it is a binary patch.
    """

    hunks: int = 0
    grows: int = 0
    binary: bool = False


class Lines:
    """The lines of a text, and how far it has been read."""

    def __init__(self, data: bytes) -> None:
        self._lines = data.split(b"\n")
        self._ended = self._lines[-1] == b""
        if self._ended:
            self._lines.pop()
        self._at = 0

    def peek(self, ahead: int = 0) -> bytes | None:
        """The next line, or one further on; None behind the last."""
        place = self._at + ahead
        return self._lines[place] if place < len(self._lines) else None

    def take(self) -> bytes:
        """The next line, which is then read.

        Raises:
            Refused: there is none.
        """
        line = self.peek()
        if line is None:
            raise self.malformed("the text is cut off here")
        self._at += 1
        return line

    def starts(self, *starts: bytes) -> bool:
        """Whether the next lines begin so."""
        return all((self.peek(n) or b"").startswith(start) for n, start in enumerate(starts))

    @property
    def cut_off(self) -> bool:
        """Whether all is read and the last line has no end."""
        return self.peek() is None and not self._ended

    def malformed(self, what: str) -> Refused:
        """An error at the next line."""
        return Refused("malformed", f"line {self._at + 1}: {what}")

    def without_data(self) -> Refused:
        """The error at a line that says that binary files differ, and not how."""
        return self.malformed(
            "a binary file is said to change, and its content is missing; "
            "make the patch with git diff --binary"
        )


def plain_begins(lines: Lines) -> bool:
    """Whether the next three lines are those by which git knows a plain diff."""
    return lines.starts(b"--- ", b"+++ ", b"@@ -")


def read_body(lines: Lines) -> Body:
    """Read all hunks, or the binary patch, that come next; there may be none.

    Raises:
        Refused: they are malformed.
    """
    line = lines.peek()
    if line is not None and NO_DATA.fullmatch(line):
        raise lines.without_data()
    if line == b"GIT binary patch":
        lines.take()
        grows = _binary_block(lines)
        if _BINARY.fullmatch(lines.peek() or b""):
            grows = max(grows, _binary_block(lines))  # the way back: git inflates it too
        return Body(1, grows, binary=True)
    hunks = grows = 0
    while lines.starts(b"@@ -"):
        grows += _hunk(lines)
        hunks += 1
    if hunks:
        _refuse_more(lines)
    return Body(hunks, grows)


def _hunk(lines: Lines) -> int:
    """Read one hunk; how many bytes it adds."""
    head = HUNK.match(lines.peek() or b"")
    if head is None:
        raise lines.malformed("the head of a hunk cannot be read")
    lines.take()
    old, new = int(head[2] or 1), int(head[4] or 1)
    grows, changes = 0, False
    while old or new:
        if (line := lines.peek()) is None:
            raise lines.malformed("the last hunk is cut off")
        kind = line[:1] or b" "  # some editors drop the blank of an empty line; git takes it
        if kind == b"\\":
            lines.take()
            continue
        if kind not in (b" ", b"+", b"-"):
            raise lines.malformed("a hunk has fewer lines than its head says")
        old -= kind != b"+"
        new -= kind != b"-"
        if old < 0 or new < 0:
            raise lines.malformed("a hunk has other lines than its head says")
        changes = changes or kind != b" "
        grows += len(line) if kind == b"+" else 0
        lines.take()
    if lines.starts(b"\\ "):
        lines.take()
    if not changes:
        raise lines.malformed("a hunk that changes nothing")
    if lines.cut_off:
        raise lines.malformed("the last line is cut off")
    return grows


def _refuse_more(lines: Lines) -> None:
    """Git passes over lines behind a hunk that its numbers do not count; a reader does not."""
    line = lines.peek()
    if line is None or line.rstrip(b"\r") in _SIGNATURES or plain_begins(lines):
        return
    if line.startswith((b"+", b"-", b" ", b"\\")):
        raise lines.malformed("a hunk has more lines than its head says")


def _binary_block(lines: Lines) -> int:
    """Read one block of a binary patch; how many bytes it makes git allocate."""
    head = _BINARY.fullmatch(lines.peek() or b"")
    if head is None:
        raise lines.malformed("a binary patch begins with `literal` or `delta` and a size")
    lines.take()
    data = bytearray()
    while line := lines.peek():
        data += _decoded(line, lines)
        lines.take()
    lines.take()  # the empty line that ends it
    size = int(head[2])
    return size + (_size_made(bytes(data), lines) if head[1] == b"delta" else 0)


def _decoded(line: bytes, lines: Lines) -> bytes:
    """The bytes of one line: a letter for their number, then base 85 in groups of five."""
    letter, digits = line[0], line[1:]
    if 0x41 <= letter <= 0x5A:
        count = letter - 0x41 + 1
    elif 0x61 <= letter <= 0x7A:
        count = letter - 0x61 + 27
    else:
        raise lines.malformed("a line of a binary patch does not begin with its length")
    if len(digits) != (count + 3) // 4 * 5:
        raise lines.malformed("a line of a binary patch is not as long as it says")
    try:
        return base64.b85decode(digits)[:count]
    except ValueError as error:
        raise lines.malformed("a line of a binary patch is no base 85") from error


def _size_made(delta: bytes, lines: Lines) -> int:
    """How large the file is that a delta makes: the second number in it.

    Only the beginning is inflated: a bomb would be one only behind it.
    """
    try:
        head = zlib.decompressobj().decompress(delta, _DELTA_HEAD)
    except zlib.error as error:
        raise lines.malformed("the data of a binary patch cannot be inflated") from error
    numbers: list[int] = []
    number = shift = 0
    for byte in head:
        number |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            numbers.append(number)
            number = shift = 0
        if len(numbers) == 2:
            return numbers[1]
    raise lines.malformed("the data of a binary patch is no delta")
