"""Secrets in what a patch adds: known kinds of tokens, private keys, and random-looking values.

A net, not a wall: it catches what is pasted, not what is hidden. A finding is named by the SHA-256
of the secret as it stands in the file; nothing we print or keep as a reason shows the secret.
"""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from resources.effects import ABSENT, Change, printable
from resources.patch_policy.reasons import Reason, about
from resources.patch_policy.sections import Section
from resources.specs import PolicySpec
from resources.tokens import TOKEN_KINDS

RANDOM = 3.5
"""Bits per character (Shannon) from which on a value of mixed characters looks random."""
RANDOM_HEX = 3.0
"""The same for hexadecimal digits, which have 4 bits at most."""

_KEY_BLOCK = re.compile(
    r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,4}PRIVATE KEY(?: BLOCK)?-----"
    r"""(?:\s|\\[nr]|["'`+,;#*]|[A-Za-z-]{1,20}: [^\n]{0,80}\n){0,60}"""
    r"""[A-Za-z0-9+/]{12,}={0,2}(?=\s|\\|["'`]|\Z)"""
)
_LONGEST_KEY = 20_000
_ASSIGNMENT = re.compile(
    r"(?P<name>secret|token|passw(?:or)?d|passphrase|pwd|credential"
    r"|(?:api|access|private|auth|encryption|signing|account|storage|master|secret)[_-]?key"
    r"|(?<![A-Za-z0-9_-])key)[A-Za-z0-9_-]{0,20}"
    r"""["'`]?(?:\s{0,4}:\s{0,4}[A-Za-z][\w.|\[\], ]{0,40})?\s{0,4}(?::=|=>|[:=])\s{0,4}"""
    r"""(?:(?P<quote>["'`])(?P<quoted>[^\s"'`]{12,256})(?P=quote)"""
    r"|(?P<bare>[A-Za-z0-9+/_=-]{16,256})(?=\s|[,;]|\Z))",
    re.IGNORECASE,
)
_IN_CONTEXT: tuple[tuple[str, str, re.Pattern[str]], ...] = (
    ("password in an address", "://", re.compile(r"://[^/\s:@]{0,64}:([^/\s:@]{8,256})(?=@)")),
    (
        "bearer token",
        "earer",
        re.compile(r"(?<![A-Za-z])[Bb]earer[ \t]{1,8}([A-Za-z0-9._~+/=-]{16,4096})"),
    ),
    (
        "basic authorization",
        "asic",
        re.compile(r"(?<![A-Za-z])[Bb]asic[ \t]{1,8}([A-Za-z0-9+/=]{16,4096})"),
    ),
    (
        "authorization token",
        "uthorization",
        re.compile(
            r"""[Aa]uthorization["']?[ \t]{0,8}[:=,][ \t]{0,8}["']?[Tt]oken[ \t]{1,8}"""
            r"([A-Za-z0-9._~+/=-]{16,4096})"
        ),
    ),
)
_UNQUOTED = re.compile(
    r"^[ \t]{0,40}(?:export[ \t]{1,4})?[\w.-]{0,60}?"
    r"(?P<name>passw(?:or)?d|passphrase|pwd|secret|token)[\w.-]{0,20}[ \t]{0,4}[=:][ \t]{0,4}"
    r"""(?=\S{0,256}[!#$%^&*?~@])(?P<value>[^\s"'`,;(){}\[\]<>]{10,256})[ \t\r]{0,40}$""",
    re.IGNORECASE | re.MULTILINE,
)
"""In files of settings, where values have no quotes: any characters, one of them a sign."""
_ADDRESS = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_REPEATED = re.compile(r"(.)\1{5,}")
"""What stands for a token in examples: `ghp_xxxxxxxxxxxxxxxx`."""
_HEX = re.compile(r"[0-9a-fA-F]{32,}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_WORDS = re.compile(r"(?:[A-Za-z]+\d{0,2}|\d{1,6})(?:[-_./:@=]+(?:[A-Za-z]+\d{0,2}|\d{1,6}))*")
_REFERENCE = re.compile(
    r"\$[({]|^\$|[{(<].*[})>]|%\(|^[.~]|^/[a-z]+/|^\w+://|^sha(?:1|256|384|512)[-:]"
)
_PLACEHOLDER = re.compile(
    r"(?:^|[^a-z0-9])(?:example|placeholder|change[-_]?me|dummy|fake|test|sample|your|redacted"
    r"|x{3,}|todo|replace|foo|bar|not[-_]a)(?:[^a-z0-9]|$)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Finding:
    """Something that looks like a secret.

    Attributes:
        kind: what it looks like.
        at: where it begins in the searched text.
        sha256: names it without telling it.
    """

    kind: str
    at: int
    sha256: str


def leaked_secrets(
    change: Change, texts: Sequence[Section], policy: PolicySpec
) -> Iterator[Reason]:
    """Secrets in added lines, and in new contents of binary files where those are allowed."""
    allowed = set(policy.allow_secrets)
    for section in texts:
        lines = [line.decode("utf-8", "replace") for _, line in section.added]
        text = "\n".join(lines)
        seen = set(allowed)
        for finding in find_secrets(text):
            if finding.sha256 not in seen:
                number = section.added[text.count("\n", 0, finding.at)][0]
                place = f"line {number} of {printable(section.effect.path)}"
                yield _leak(section.effect.path, place, finding)
            seen.add(finding.sha256)
    if policy.allow_binary and change.size.binaries:
        yield from _in_binaries(change, allowed)


def _in_binaries(change: Change, allowed: set[str]) -> Iterator[Reason]:
    binaries = set(change.size.binaries)
    effects = [e for e in change.effects if e.path in binaries and e.new_mode != ABSENT]
    contents = change.contents(effect.new_blob for effect in effects)
    for effect in effects:
        content = contents[effect.new_blob]
        if content is None:
            text = f"{printable(effect.path)} is too large to be searched for secrets"
            yield about(effect.path, "oversize", text)
            continue
        for data in (content, content.replace(b"\0", b"")):  # UTF-16 has a NUL in each character
            text = data.decode("latin-1")
            for finding in (*_tokens(text), *_key_blocks(text)):
                if finding.sha256 not in allowed:
                    yield _leak(effect.path, printable(effect.path), finding)


def _leak(path: str, place: str, finding: Finding) -> Reason:
    text = f"{place} looks like a secret ({finding.kind}); if it is none, policy.allow_secrets"
    return about(path, "secret", f"{text} takes its sha256 {finding.sha256}")


def find_secrets(text: str) -> list[Finding]:
    """Everything in a text that looks like a secret, in order; each place once."""
    certain = [*_key_blocks(text), *_tokens(text)]
    taken = {finding.sha256 for finding in certain}
    guessed = [f for f in (*_assigned(text), *_in_context(text)) if f.sha256 not in taken]
    by_place: dict[tuple[int, str], Finding] = {}
    for finding in (*certain, *guessed):  # the more telling kinds come first
        by_place.setdefault((finding.at, finding.sha256), finding)
    return sorted(by_place.values(), key=lambda finding: finding.at)


def _finding(kind: str, at: int, secret: str) -> Finding:
    return Finding(kind, at, hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest())


def _key_blocks(text: str) -> Iterator[Finding]:
    if "PRIVATE KEY" not in text:
        return
    for found in _KEY_BLOCK.finditer(text):
        end = text.find("-----END ", found.end(), found.start() + _LONGEST_KEY)
        block = text[found.start() : end if end > 0 else found.end()]
        yield _finding("private key", found.start(), block.strip())


def _tokens(text: str) -> Iterator[Finding]:
    for kind in TOKEN_KINDS:
        for at, token in kind.found_in(text):
            if not _is_filled_up(token) and (kind.certain or _looks_like_a_password(token)):
                yield _finding(kind.name, at, token)


def _in_context(text: str) -> Iterator[Finding]:
    for name, hint, pattern in _IN_CONTEXT:
        if hint in text:
            for found in pattern.finditer(text):
                if _looks_random(found[1], RANDOM_HEX if len(found[1]) < 16 else RANDOM):
                    yield _finding(name, found.start(1), found[1])
    for found in _UNQUOTED.finditer(text):
        value = found["value"]
        mixed = _kinds_of_characters(value) >= 3 and not _ADDRESS.fullmatch(value)
        if mixed and _looks_like_a_password(value):
            yield _finding(f"value of a {found['name'].lower()}", found.start("value"), value)


def _assigned(text: str) -> Iterator[Finding]:
    """Random-looking values that are given to something with a telling name."""
    for found in _ASSIGNMENT.finditer(text):
        name, quoted, bare = found["name"].lower(), found["quoted"], found["bare"]
        value = quoted or bare
        if name.startswith(("pass", "pwd")) and quoted and len(value) < 16:
            random = _looks_random(value, 3.2) and _kinds_of_characters(value) >= 3
        else:
            random = len(value) >= 16 and _looks_random(value)
            if bare or name == "key":  # weak signs: it must look very much like one
                random = random and (
                    _kinds_of_characters(value) >= 3
                    or (name != "key" and _HEX.fullmatch(value) is not None)
                )
        if random:
            yield _finding(f"value of a {name}", found.start("quoted" if quoted else "bare"), value)


def _looks_random(value: str, bits: float = RANDOM) -> bool:
    """Whether a value is neither words, a reference, a placeholder nor monotonous."""
    if _REFERENCE.search(value) or _WORDS.fullmatch(value) or _UUID.fullmatch(value):
        return False
    if _PLACEHOLDER.search(value) or _is_a_sequence(value):
        return False
    if _HEX.fullmatch(value):
        return entropy(value) >= RANDOM_HEX
    return entropy(value) >= bits and any(character.isdigit() for character in value)


def _looks_like_a_password(value: str) -> bool:
    """Whether a value looks random for its length; for where a secret is to be expected."""
    if len(value) >= 16:
        return _looks_random(value)
    return _looks_random(value, min(RANDOM_HEX, 0.88 * math.log2(len(value))))


def _is_filled_up(token: str) -> bool:
    """Whether a token is one character again and again, and nothing random is left beside it."""
    rest = _REPEATED.sub("", token)
    return rest != token and not _looks_random(rest.strip("-_./:@="), RANDOM_HEX)


def _is_a_sequence(value: str) -> bool:
    """`abcdef123456`: at least half of the characters follow the one before."""
    steps = sum(ord(b) - ord(a) == 1 for a, b in pairwise(value))
    return 2 * steps >= len(value) - 1


def _kinds_of_characters(value: str) -> int:
    tests = (str.islower, str.isupper, str.isdigit, lambda c: not c.isalnum())
    return sum(any(test(character) for character in value) for test in tests)


def entropy(value: str) -> float:
    """Shannon's entropy of a text's characters, in bits per character."""
    return -sum(n / len(value) * math.log2(n / len(value)) for n in Counter(value).values())
