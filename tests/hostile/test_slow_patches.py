"""Patches within the limits that are made to be slow to read: every answer comes within seconds."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.hostile.answers import assert_well_formed, judged
from tests.hostile.base import BASE
from tests.hostile.cases import EVERYTHING, Case
from tests.hostile.scenery import Scenery
from tests.hostile.writing import create, header, joined, mail, plain, rewrite

SECONDS = 20.0
SIZE = 600_000


def filled(part: str, end: str = "") -> Callable[[], bytes]:
    """A new file that is one long line of the same part."""
    return lambda: create("new.txt", part * (SIZE // len(part)) + end + "\n")


def every_line(part: str) -> Callable[[], bytes]:
    """A new file that is many lines of the same part."""
    return lambda: create("new.txt", f"{part}\n" * (SIZE // (len(part) + 2)))


DASHES = "-" * 5
SLOW: dict[str, Callable[[], bytes]] = {
    "letters": filled("a"),
    "blanks": filled(" "),
    "tabs-then-end": filled("\t", "x"),
    "quotes": filled('"'),
    "backslashes": filled("\\"),
    "token-starts": filled("ey" + "J"),
    "token-parts": filled("ey" + "Jabcdefgh."),
    "assignments": filled("pass" + "word = "),
    "assignment-lines": every_line("api_" + "key = 'x'"),
    "key-blocks": every_line(f"{DASHES}BEGIN PRIVATE " + f"KEY{DASHES}"),
    "addresses": filled("://a:"),
    "bearers": filled("bear" + "er "),
    "heads": every_line("diff --git a/x b/x"),
    "hunk-heads": every_line("@@ -1 +1 @@"),
    "empty-lines": every_line(""),
    "returns": lambda: create("new.txt", b"a\r" * (SIZE // 2) + b"\n"),
    "test-heads": lambda: rewrite("tests/test_app.py", b" " * 400_000 + b"x\n" + b"\n" * 400_000),
    "prose": lambda: b"words\n" * (SIZE // 6) + create("new.txt"),
    "from-lines": lambda: b"From: a\n" * (SIZE // 8) + create("new.txt"),
    "minus-lines": lambda: b"--- a/x\n" * (SIZE // 8) + create("new.txt"),
    "index-lines": lambda: header("a.txt", "a.txt") + b"index 1..2\n" * (SIZE // 11),
    "mails": lambda: joined([mail(create(f"new/{n}.txt")) for n in range(100)]),
    "blank-in-header": lambda: b"diff --git " + b"a/x " * (SIZE // 4) + b"\n",
    "long-name": lambda: create("x" * 200_000),
    "deep-name": lambda: create("x/" * 50_000 + "x"),
    "dots": lambda: create("x" + "." * 100_000),
    "octals": lambda: create("\u00e9" * 20_000),
    "one-hunk-often": lambda: plain("a/a.txt", "b/a.txt", b"@@ -1 +1 @@\n-x\n+y\n" * 4_900),
    "moved-about": lambda: rewrite("long.txt", b"".join(reversed(
        BASE["long.txt"].data.splitlines(keepends=True))) * 50),
}  # fmt: skip


@pytest.mark.parametrize("policy", [EVERYTHING, {}], ids=["all-allowed", "default"])
@pytest.mark.parametrize("name", SLOW)
def test_an_answer_comes_soon(scenery: Scenery, name: str, policy: Mapping[str, Any]) -> None:
    case = Case(f"slow-{name}", SLOW[name](), policy=policy)
    before, started = scenery.snapshot(), time.monotonic()
    found = judged(scenery, case)
    assert time.monotonic() - started < SECONDS
    assert_well_formed(found)
    assert scenery.snapshot() == before
    assert not list(scenery.temporary.iterdir())
