"""How an attempt at a task, and the task itself, can end: expected outcomes as data."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Completed:
    """The task is done; `commit` is None when nothing had to change."""

    commit: str | None


@dataclass(frozen=True)
class Retry:
    """The attempt failed; another may begin in `delay` seconds."""

    delay: float
    reason: str


@dataclass(frozen=True)
class Failed:
    """The task failed for good."""

    reason: str


@dataclass(frozen=True)
class Cancelled:
    """Somebody ended the task, or something it needs cannot be had any more."""

    reason: str


@dataclass(frozen=True)
class Interrupted:
    """The run stops here; the task can be taken up again by `resume`."""

    reason: str = "interrupted"


Outcome = Completed | Retry | Failed | Cancelled | Interrupted


@dataclass(eq=False)
class AttemptFailed(Exception):
    """An attempt came to nothing; carries what the next one should know."""

    reason: str
    feedback: str = ""
    retryable: bool = True
    exit_code: int | None = None
    timed_out: bool = False


class AttemptStopped(Exception):
    """The attempt was told to stop: an interrupt, a cancellation or a lost claim."""
