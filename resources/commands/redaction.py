"""Masks secrets in what tools and gates print, before it is stored, shown or fed back.

Two kinds are masked: the values of variables that the plan hands to a command under a name that
says "secret", and text that looks like a well-known kind of token. This is a net, not a wall: a
tool that encodes a secret gets it through. Design, section 4, step 4.
"""

import re
from collections.abc import Iterable, Mapping

from resources.tokens import TOKEN_KINDS

MASK = "[redacted]"

# Masking a value like "1" or "true" would tear holes into all output.
_SHORTEST_SECRET = 6

_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSW|PASSPHRASE|CREDENTIAL", re.IGNORECASE)

# (a cheap hint, pattern, replacement). As in `resources.tokens`, every repetition is bounded or
# starts at the beginning of a word only, so that hostile output cannot make the search slow.
_PATTERNS: tuple[tuple[str, re.Pattern[str], str], ...] = tuple(
    (hint, re.compile(pattern, re.DOTALL), replacement)
    for hint, pattern, replacement in (
        (
            "PRIVATE KEY",
            r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,10}-----.*?"
            r"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,10}-----|\Z)",
            MASK,
        ),
        (  # the end of a block whose beginning was cut off
            "PRIVATE KEY",
            r"\A[A-Za-z0-9+/=\s]{1,8192}-----END [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,10}-----",
            MASK,
        ),
        *((kind.hint, kind.pattern.pattern, MASK) for kind in TOKEN_KINDS),
        ("_live_", r"(?<![A-Za-z0-9_-])pk_live_[A-Za-z0-9]{16,255}", MASK),
        ("_test_", r"(?<![A-Za-z0-9_-])pk_test_[A-Za-z0-9]{16,255}", MASK),
        (
            "earer",
            r"(?<![A-Za-z])([Bb]earer[ \t]{1,8})[A-Za-z0-9._~+/=-]{16,4096}",
            rf"\1{MASK}",
        ),
        (
            "uthorization",
            r"([Aa]uthorization[\"']?[ \t]{0,8}[:=][ \t]{0,8}[\"']?(?:[Bb]asic|[Tt]oken)[ \t]{1,8})"
            r"[A-Za-z0-9._~+/=-]{8,4096}",
            rf"\1{MASK}",
        ),
        ("://", r"(://[^/\s:@]{0,64}:)[^/\s:@]{3,256}(?=@)", rf"\1{MASK}"),
    )
)


class Redactor:
    """A callable that masks `secrets` and everything that looks like a token."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = {part for secret in secrets for part in _forms(secret)}
        longest_first = sorted(known, key=lambda part: (-len(part), part))
        self._declared = (
            re.compile("|".join(re.escape(part) for part in longest_first)) if known else None
        )

    def __call__(self, text: str) -> str:
        if self._declared is not None:
            text = self._declared.sub(MASK, text)
        for hint, pattern, replacement in _PATTERNS:
            if hint in text:
                text = pattern.sub(replacement, text)
        return text


def declared_secrets(env: Mapping[str, str]) -> list[str]:
    """The values in a command's environment whose names sound secret (KEY, TOKEN, PASSWORD..)."""
    return [value for name, value in env.items() if _SECRET_NAME.search(name)]


def _forms(secret: str) -> Iterable[str]:
    """The secret as it may be printed: whole, and line by line when it has several."""
    whole = secret.strip()
    return (
        part
        for part in {whole, *(line.strip() for line in whole.splitlines())}
        if len(part) >= _SHORTEST_SECRET
    )
