"""Gitignore-style globs: which paths they match, and whether two of them can meet.

`*` and `?` stop at `/`; `**` crosses it; a glob with a `/` before its end is anchored at the root
and one without matches at any depth; a trailing `/` asks for a directory; a glob that names a
directory covers everything beneath it; case counts (design section 6, "Scope").

Both questions are answered from one reading of the glob. Paths come from tools that nobody trusts,
so the matching is our own: pathspec's lets `[!a]` match `/`, and misses `.env` below a directory
with a newline in its name. What git reads in surprising ways is refused instead of guessed at.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

WHOLE_REPOSITORY = ("**",)
MAX_GLOB_CHARACTERS = 1024

_SET = re.compile(r"\[([!^]?)((?:[^\W_]-[^\W_]|[^\[\]\\/^!&|~-])+)\]")
_EXTENSION = re.compile(r"[*?\]][^*?\[\]]*\.\w+$")
_ESCAPABLE = "*?[]!# "


class GlobError(ValueError):
    """A glob that patchline does not take.

    Attributes:
        pattern: the glob as written.
        problem: what is wrong with it.
        hint: how to mend it.
    """

    def __init__(self, pattern: str, problem: str, hint: str) -> None:
        super().__init__(f"glob {pattern!r}: {problem}; {hint}")
        self.pattern = pattern
        self.problem = problem
        self.hint = hint


@dataclass(frozen=True)
class Characters:
    """One character of a path segment: one of `members`, or any but them; never `/`."""

    members: frozenset[str]
    negated: bool = False

    def meets(self, other: "Characters") -> bool:
        """Tell whether some character satisfies both."""
        if self.negated and other.negated:
            return True
        if self.negated:
            return bool(other.members - self.members)
        if other.negated:
            return bool(self.members - other.members)
        return bool(self.members & other.members)


@dataclass(frozen=True)
class Star:
    """Any run of characters within a segment, also none."""


@dataclass(frozen=True)
class AnySegments:
    """Any number of whole segments, also none."""


Token = Characters | Star
Segment = tuple[Token, ...]
Pattern = tuple[Segment | AnySegments, ...]
_ANY_CHARACTER = Characters(frozenset(), negated=True)
_ANY_SEGMENT: Segment = (_ANY_CHARACTER, Star())
_MANY = AnySegments()


class Globs:
    """A set of globs that a path matches when any one of them does."""

    def __init__(self, patterns: Iterable[str]) -> None:
        """Compile the globs.

        Raises:
            GlobError: one of them is not a glob that patchline takes.
        """
        self.patterns = tuple(patterns)
        alternatives = [_regex(parse(pattern)) for pattern in self.patterns]
        self._regex = re.compile("|".join(alternatives)) if alternatives else None

    def matches(self, path: str) -> bool:
        """Tell whether a path (relative to the repository's root, with `/`) is covered."""
        return self._regex is not None and self._regex.fullmatch(path + "/") is not None

    def __repr__(self) -> str:
        return f"Globs({list(self.patterns)!r})"


@lru_cache(maxsize=65536)
def overlap(a: str, b: str) -> bool:
    """Tell whether some path matches both globs; exact, and symmetric.

    One thing is taken for granted: nobody names a directory like a file. `*.py` and `docs/*.md`
    would otherwise meet in `docs/a.md/b.py`, and nearly any two globs would be in conflict.

    Raises:
        GlobError: one of the two is not a glob that patchline takes.
    """
    return _meet(_usual(a), _usual(b), AnySegments, _segments_meet)


@cache
def literal_prefix(pattern: str) -> tuple[str, ...]:
    """Return the names that every path covered by a glob begins with.

    Raises:
        GlobError: it is not a glob that patchline takes.
    """
    names: list[str] = []
    for segment in parse(pattern):
        if isinstance(segment, AnySegments):
            break
        plain = [t for t in segment if isinstance(t, Characters) and not t.negated]
        if len(plain) < len(segment) or any(len(t.members) > 1 for t in plain):
            break
        names.append("".join(next(iter(t.members)) for t in plain))
    return tuple(names)


def _usual(pattern: str) -> Pattern:
    """Read a glob, except that a final `*.ext` names files only."""
    read = parse(pattern)
    return read[:-1] if _EXTENSION.search(pattern) else read


@lru_cache(maxsize=65536)
def _segments_meet(a: Segment, b: Segment) -> bool:
    """Tell whether one segment text satisfies both token lists."""
    return _meet(a, b, Star, Characters.meets)


def _meet(
    left: tuple[Any, ...],
    right: tuple[Any, ...],
    repeat: type,
    items_meet: Callable[[Any, Any], bool],
) -> bool:
    """Search the product of two pattern automata for an input that both accept.

    A state is a position in each pattern. An item of type `repeat` stands for any number of items.
    """
    seen = {(0, 0)}
    todo = [(0, 0)]
    while todo:
        i, j = todo.pop()
        if i == len(left) and j == len(right):
            return True
        one = left[i : i + 1]
        two = right[j : j + 1]
        steps: list[tuple[int, int]] = []
        if (one and isinstance(one[0], repeat)) or (two and isinstance(two[0], repeat)):
            # A repeat either ends here, or swallows what the other pattern asks for next.
            steps += [(i + 1, j)] if one else []
            steps += [(i, j + 1)] if two else []
        elif one and two and items_meet(one[0], two[0]):
            steps.append((i + 1, j + 1))
        todo += [step for step in steps if step not in seen]
        seen.update(steps)
    return False


@cache
def parse(pattern: str) -> Pattern:
    """Read a glob as the segments that a whole path must have.

    Raises:
        GlobError: it is not a glob that patchline takes.
    """
    _check_form(pattern)
    body = pattern.removeprefix("/")
    directory = body.endswith("/")
    parts = body.removesuffix("/").split("/")
    _check_parts(pattern, parts)
    read = [_MANY if part == "**" else _tokens(pattern, part) for part in parts]
    beneath: list[Segment | AnySegments] = [_ANY_SEGMENT, _MANY]
    if all(part == "**" for part in parts):
        read = [_ANY_SEGMENT, *beneath] if directory else [_MANY]
        return tuple(read)
    if len(parts) == 1 and not pattern.startswith("/"):
        read.insert(0, _MANY)
    if directory:
        read += beneath
    elif parts[-1] == "**":
        read[-1:] = beneath  # `src/**` is everything beneath src, not src itself
    else:
        read.append(_MANY)  # the name may be a directory's
    return tuple(s for n, s in enumerate(read) if n == 0 or s != _MANY or read[n - 1] != _MANY)


def _check_form(pattern: str) -> None:
    """Refuse what is not one plain, positive, relative glob."""
    if not pattern.strip("/ \t"):
        raise GlobError(pattern, "it names nothing", "write `**` for the whole repository")
    if len(pattern) > MAX_GLOB_CHARACTERS:
        raise GlobError(
            pattern[:40] + "...",
            f"it has {len(pattern)} characters",
            f"at most {MAX_GLOB_CHARACTERS} are allowed",
        )
    if pattern.startswith("!"):
        raise GlobError(pattern, "negation is not supported", r"list what is meant")
    if pattern.startswith("#"):
        raise GlobError(pattern, "it would be a comment", r"write `\#` for a name that starts so")
    if pattern != pattern.strip() or any(ord(c) < 32 or ord(c) == 127 for c in pattern):
        raise GlobError(pattern, "it has spaces around it or control characters", "remove them")


def _check_parts(pattern: str, parts: list[str]) -> None:
    """Refuse segments that no path in a repository can have."""
    if "" in parts:
        raise GlobError(pattern, "it has an empty segment", "write one `/` between names")
    if "." in parts or ".." in parts:
        raise GlobError(
            pattern, "it has a `.` or `..` segment", "write it relative to the repository's root"
        )


def _tokens(pattern: str, part: str) -> Segment:
    """Read one segment of a glob."""
    tokens: list[Token] = []
    at = 0
    while at < len(part):
        char = part[at]
        if char == "*":
            if not tokens or not isinstance(tokens[-1], Star):
                tokens.append(Star())
        elif char == "?":
            tokens.append(_ANY_CHARACTER)
        elif char == "\\":
            at += 1
            if at == len(part) or part[at] not in _ESCAPABLE:
                raise GlobError(pattern, "a `\\` that escapes nothing", "separate names with `/`")
            tokens.append(Characters(frozenset(part[at])))
        elif char == "[":
            found = _SET.match(part, at)
            if found is None:
                raise GlobError(
                    pattern,
                    "a `[` that does not begin a plain set of characters",
                    r"write a set as `[a-z0-9_]` or `[!a]`, and the character itself as `\[`",
                )
            tokens.append(Characters(_members(pattern, found[2]), negated=bool(found[1])))
            at = found.end() - 1
        else:
            tokens.append(Characters(frozenset(char)))
        at += 1
    return tuple(tokens)


def _members(pattern: str, text: str) -> frozenset[str]:
    """Spell out the characters of a set such as `a-z_`."""
    members: set[str] = set()
    at = 0
    while at < len(text):
        if text[at + 1 : at + 2] == "-":
            low, high = text[at], text[at + 2]
            if not _same_kind(low, high) or low > high:
                raise GlobError(
                    pattern, f"`{low}-{high}` is not a range", "use ranges as in `[a-z]`, `[0-9]`"
                )
            members.update(map(chr, range(ord(low), ord(high) + 1)))
            at += 3
        else:
            members.add(text[at])
            at += 1
    return frozenset(members)


def _same_kind(low: str, high: str) -> bool:
    """Tell whether two characters are both digits, both lower case or both upper case ASCII."""
    kinds = ("09", "az", "AZ")
    return any(k[0] <= low <= k[1] and k[0] <= high <= k[1] for k in kinds)


def _regex(segments: Pattern) -> str:
    """Translate a read glob to a regular expression over a path followed by a `/`."""
    return "".join(
        "(?:[^/]+/)*" if isinstance(segment, AnySegments) else f"{_segment_regex(segment)}/"
        for segment in segments
    )


def _segment_regex(segment: Segment) -> str:
    """Translate one segment of a glob."""
    out = ["(?!/)"]  # a segment of a path is never empty
    for token in segment:
        if isinstance(token, Star):
            out.append("[^/]*")
        else:
            members = "".join(map(re.escape, sorted(token.members)))
            out.append(f"[^/{members}]" if token.negated else f"[{members}]")
    return "".join(out)
