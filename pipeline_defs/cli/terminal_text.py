"""Text that others wrote, made fit for a terminal.

Diffs, paths and the output of gates are whatever a tool made them: escape sequences that rewrite
the screen, characters that turn the reading direction or take no place. They are shown spelled out.
"""

import unicodedata

_KEPT = frozenset("\n\t")
_SPELLED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Control, format (bidi and zero-width among them), surrogate, private, unassigned, and the
separators that some terminals break lines at."""


def visible(text: str) -> str:
    r"""Text with every character that a terminal would act upon, or not show, spelled out.

    `\x1b` becomes the four characters `\x1b`; line feeds and tabs stay.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        one if one in _KEPT or unicodedata.category(one) not in _SPELLED else _spelled(one)
        for one in text
    )


def decoded(data: bytes) -> str:
    r"""Bytes of whatever encoding as text; those that are no UTF-8 are spelled `\xe9`."""
    return data.decode("utf-8", "backslashreplace")


def _spelled(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
