"""When a failed task is tried again, and how long it waits."""

import random
from datetime import UTC, datetime

import pytest

from resources.execution.retries import RetryDecision, Stop, decide_retry
from resources.specs import RetrySpec

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def decide(retry_count: int = 0, max_retries: int = 3, retryable: bool = True, seed: int = 1):
    return decide_retry(
        reason="tool x: exit code 1",
        retryable=retryable,
        retry_count=retry_count,
        max_retries=max_retries,
        spec=RetrySpec(base_sec=2.0, cap_sec=10.0),
        now=NOW,
        uniform=random.Random(seed),
    )


@pytest.mark.parametrize(("retry_count", "ceiling"), [(0, 2), (1, 4), (2, 8), (3, 10), (60, 10)])
def test_the_delay_doubles_up_to_its_cap_with_at_most_half_of_it_as_jitter(
    retry_count: int, ceiling: float
) -> None:
    delays: set[float] = set()
    for seed in range(50):
        decision = decide(retry_count, max_retries=100, seed=seed)
        assert isinstance(decision, RetryDecision)
        assert ceiling / 2 <= decision.delay <= ceiling
        assert (decision.at - NOW).total_seconds() == pytest.approx(decision.delay, abs=1e-5)
        delays.add(decision.delay)
    assert len(delays) > 10, "without jitter all would come back at the same moment"


def test_no_more_retries_than_allowed() -> None:
    assert isinstance(decide(retry_count=2), RetryDecision)
    assert decide(retry_count=3) == Stop("tool x: exit code 1 (after 4 attempts)")
    assert decide(max_retries=0) == Stop("tool x: exit code 1 (after 1 attempt)")


def test_a_permanent_failure_is_not_tried_again() -> None:
    assert decide(retryable=False) == Stop("tool x: exit code 1 (permanent: no retry)")
