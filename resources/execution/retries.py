"""When a task is tried again: decision objects, exponential delay with a cap and full jitter.

Source: decisions T1, T2, T5.
"""

import random
from dataclasses import dataclass
from datetime import datetime, timedelta

from resources.specs import RetrySpec


@dataclass(frozen=True)
class RetryDecision:
    """Try again after `delay` seconds, not before `at` (UTC)."""

    delay: float
    at: datetime
    reason: str


@dataclass(frozen=True)
class Stop:
    """No further attempt, and why."""

    reason: str


def decide_retry(
    *,
    reason: str,
    retryable: bool,
    retry_count: int,
    max_retries: int,
    spec: RetrySpec,
    now: datetime,
    uniform: random.Random,
) -> RetryDecision | Stop:
    """Whether a failed attempt is followed by another.

    Args:
        reason: why the attempt failed.
        retryable: False when trying again cannot help (decisions T2).
        retry_count: retries that were used up before this failure.
        max_retries: how many a task may use.
        spec: delay parameters, seconds.
        now: the injected clock's time.
        uniform: source of the jitter.
    """
    if not retryable:
        return Stop(f"{reason} (permanent: no retry)")
    if retry_count >= max_retries:
        tries = retry_count + 1
        return Stop(f"{reason} (after {tries} attempt{'s' if tries > 1 else ''})")
    ceiling = min(spec.cap_sec, spec.base_sec * 2**retry_count)
    delay = uniform.uniform(ceiling / 2, ceiling)
    return RetryDecision(delay, now + timedelta(seconds=delay), reason)
