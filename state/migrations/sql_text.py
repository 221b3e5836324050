"""Just enough reading of SQL to compare what SQLite remembers of a table with what it should be."""

import re
from collections.abc import Iterator

_TOKEN = re.compile(
    r"""\s+ | --[^\n]* | /\*.*?\*/
    | (?P<string>'(?:[^']|'')*')
    | (?P<quoted>"(?:[^"]|"")*" | `[^`]*` | \[[^\]]*\])
    | (?P<word>[\w$.]+)
    | (?P<sign><=|>=|<>|!=|==|\|\||.)""",
    re.VERBOSE | re.DOTALL,
)


def tokens(sql: str) -> Iterator[str]:
    """Words and signs, without blanks and comments; names unquoted and in small letters."""
    for match in _TOKEN.finditer(sql):
        if (text := match["string"]) is not None:
            yield text
        elif (text := match["quoted"]) is not None:
            yield text[1:-1].lower()
        elif (text := match["word"] or match["sign"]) is not None:
            yield text.lower()


def plain(sql: str) -> str:
    """The same statement always in the same spelling."""
    return " ".join(tokens(sql))


def parts(sql: str) -> tuple[list[list[str]], list[str]]:
    """What stands between the outer brackets, cut at its commas, and what follows them.

    Each part is a list of tokens.
    """
    found: list[list[str]] = [[]]
    tail: list[str] = []
    depth = 0
    closed = False
    for token in tokens(sql):
        if closed:
            tail.append(token)
            continue
        depth -= token == ")"
        if depth == 0 and token == ")":
            closed = True
        elif depth == 1 and token == ",":
            found.append([])
        elif depth:
            found[-1].append(token)
        depth += token == "("
    return found, tail
