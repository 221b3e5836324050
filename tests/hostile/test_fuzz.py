"""Damaged diffs crash nothing, hang nothing, get nothing through; `fuzz.py` goes on for hours."""

import os
import time
from pathlib import Path

from tests.hostile.fuzzing import Field

CASES = 250
SEED = 4
LONG_SECONDS = 60.0


def test_damaged_diffs_get_nothing_through(tmp_path: Path) -> None:
    field = Field.make(tmp_path)
    until = time.monotonic()
    if os.environ.get("PATCHLINE_LONG_TESTS") == "1":
        until += LONG_SECONDS
    number = 0
    while number < CASES or time.monotonic() < until:
        try:
            field.run(SEED, number)
        except Exception as error:
            text = f"python tests/hostile/fuzz.py --seed {SEED} --case {number}"
            raise AssertionError(f"{error}; see it again: {text}") from error
        number += 1
    assert field.verdicts["accept"] > number / 20, field.verdicts
    assert field.verdicts["reject"] > number / 4, field.verdicts
