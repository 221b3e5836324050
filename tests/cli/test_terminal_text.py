"""Others' text on a terminal."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from pipeline_defs.cli.terminal_text import decoded, visible


def test_what_a_terminal_would_act_upon_is_spelled_out() -> None:
    assert visible("\x1b[31mred\x07\r") == r"\x1b[31mred\x07\r"
    assert visible("a\u202eb\u200bc\u2028d\x9be") == r"a\u202eb\u200bc\u2028d\x9be"
    assert visible("\ud800\U000e0041") == r"\ud800\U000e0041"


def test_ordinary_text_stays() -> None:
    for text in ("plain", "a\tb\nc", "naïve 日本 é", "", "x \\ y"):
        assert visible(text) == text


def test_bytes_that_are_no_text_are_spelled() -> None:
    assert decoded(b"caf\xe9 \xc3\xa9") == "caf\\xe9 é"


@given(st.text())
def test_nothing_else_is_left(text: str) -> None:
    shown = visible(text)
    assert visible(shown) == shown
    for one in shown.replace("\n", "").replace("\t", ""):
        assert unicodedata.category(one)[0] != "C"
