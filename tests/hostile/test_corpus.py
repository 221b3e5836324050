"""Every patch of the corpus gets the verdict that it deserves, and leaves no trace."""

import resource
import time

import pytest

from tests.hostile.answers import disagreements, judged
from tests.hostile.cases import CODES
from tests.hostile.corpus.all import corpus
from tests.hostile.scenery import Scenery

SECONDS = 10.0
CHILD_KIBIBYTES = 1 << 20


def test_the_corpus_is_as_large_and_as_wide_as_it_says() -> None:
    cases = corpus().values()
    assert sum(case.malicious for case in cases) >= 150
    assert sum(not case.malicious for case in cases) >= 60
    expected = {
        code for case in cases for spelled, _ in case.reasons for code in spelled.split("|")
    }
    assert expected == CODES


@pytest.mark.parametrize("name", corpus())
def test_a_patch_is_judged_as_it_deserves(scenery: Scenery, name: str) -> None:
    case = corpus()[name]
    before = scenery.snapshot()
    started = time.monotonic()
    found = judged(scenery, case)
    took = time.monotonic() - started
    assert disagreements(case, found) == []
    assert scenery.snapshot() == before, "something was written"
    assert not list(scenery.temporary.iterdir()), "a temporary file is left"
    assert took < SECONDS
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert largest < CHILD_KIBIBYTES, "a git of ours took a gibibyte of memory"
