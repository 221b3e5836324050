"""File names as patch texts spell them: git's quoting, the `a/` in front, the `diff --git` line.

Names are bytes in a text. Here they become text as everywhere: UTF-8, and bytes that are none are
kept as surrogates.
"""

import re
from collections.abc import Iterator

from resources.effects import printable, spelled

WITHOUT_PREFIX = (
    "has no `a/` or `b/` in front; "
    "make the patch again with git -c diff.noprefix=false diff --binary"
)
_ESCAPES = dict(zip(b'abtnvfr"\\', b'\a\b\t\n\v\f\r"\\', strict=True))
_QUOTED = re.compile(rb'"((?:[^"\\]|\\[abtnvfr"\\]|\\[0-3][0-7]{2})*)"')
_LONGEST_HEADER, _MOST_BLANKS = 34_000, 1000
"""Two paths of 4096 bytes, each byte escaped; every blank may be the end of the first."""
_ESCAPED = re.compile(rb"\\([0-7]{3}|.)", re.DOTALL)


class BadName(Exception):
    """A name that is refused as it is spelled in a text.

    Attributes:
        code: the reason's code.
        path: the name, spelled as reasons do.
    """

    def __init__(self, code: str, name: bytes, problem: str) -> None:
        self.code = code
        self.path = spelled(_text(name))
        super().__init__(f"{printable(_text(name))} {problem}")


def unquoted(name: bytes) -> bytes:
    """A whole name: as it is, or without git's quotes and escapes.

    Raises:
        BadName: quotes that git would not write, or a NUL.
    """
    if name.startswith(b'"'):
        found = _QUOTED.fullmatch(name)
        if found is None:
            raise BadName("malformed", name, "is quoted in a way that git does not know")
        name = _ESCAPED.sub(lambda match: _byte(match[1]), found[1])
    if b"\0" in name:
        raise BadName("path_characters", name, "holds a NUL")
    return name


def _byte(escape: bytes) -> bytes:
    return bytes([int(escape, 8) if len(escape) == 3 else _ESCAPES[escape[0]]])


def side_name(text: bytes) -> bytes:
    """The name behind `--- ` or `+++ `, without the time that may follow a tab; still quoted."""
    quoted = _QUOTED.match(text)
    if quoted and text[quoted.end() :][:1] in (b"", b"\t", b"\r"):
        return quoted[0]
    return text.rstrip(b"\r") if text.startswith(b'"') else text.partition(b"\t")[0]


def plain(name: bytes) -> str:
    """A name that stands alone, as behind `rename from`."""
    return _text(unquoted(name))


def stripped(name: bytes) -> str:
    """A name without its first folder, the `a/` or `b/` of a diff, as `git apply` takes it.

    Raises:
        BadName: there is no such folder, or it leads out of the repository.
    """
    name = unquoted(name)
    first, slash, rest = name.partition(b"/")
    if name[:1] in (b"/", b"\\") or rest.startswith(b"/") or first[1:2] == b":":
        raise BadName("path_escape", name, "is an absolute path")
    if first == b".." or b"\\" in first:
        raise BadName("path_escape", name, "leads out of the repository")
    if not slash or not rest:
        raise BadName("malformed", name, WITHOUT_PREFIX)
    return _text(rest)


def header_says(header: bytes, old: str, new: str) -> bool:
    """Whether what stands behind `diff --git ` can be read as these two names."""
    return any(pair == (old, new) for pair in _readings(header))


def header_name(header: bytes) -> str | None:
    """The name that stands behind `diff --git ` twice; None when there is no such reading."""
    return next((old for old, new in _readings(header) if old == new), None)


def _readings(header: bytes) -> Iterator[tuple[str, str]]:
    """Every way to read two names out of a header, in which a blank may be part of a name."""
    if len(header) > _LONGEST_HEADER or header.count(b" ") > _MOST_BLANKS:
        return
    for place in (n for n, byte in enumerate(header) if byte == 0x20):
        one, other = header[:place], header[place + 1 :]
        if _prefix(one) == _prefix(other):
            continue  # made with --no-prefix: git would take a folder's name for the prefix
        try:
            yield stripped(one), stripped(other)
        except BadName:
            continue


def _prefix(name: bytes) -> bytes:
    return name.removeprefix(b'"').partition(b"/")[0]


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
