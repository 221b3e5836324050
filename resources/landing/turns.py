"""Turns to move a branch: one lander at a time, in this process and in all others.

Threads of one process take turns by a lock; sessions by a lease in the database, which each new
holder tells to git as well (`landing.fenced_leases`). The lease is renewed while its holder works,
expires when it does not, and is taken over at once from a process that is gone.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from resources.git.ref_moves import Fence
from resources.git.repository import Repository
from resources.landing.fenced_leases import Fenced, FencedLeases
from resources.landing.thread_turns import landing_turn
from state.crash_points import crash_point
from state.errors import StaleLeaseError
from state.leases import Lease
from state.store import StateStore

log = logging.getLogger(__name__)
_T = TypeVar("_T")

LEASE_SEC = 30.0
"""How long a lease outlives its last sign of life, where nobody can look at its process."""
SHORTEST_LEASE_SEC = 1.0
"""A shorter one could not be renewed in time where transactions wait for each other."""
RENEWALS = 3
"""How often a lease is renewed in the time that it lasts."""
FIRST_PAUSE, LONGEST_PAUSE = 0.005, 0.1
"""Seconds between two looks at a lease that is held."""
HAND_ON_SEC = 1.0
"""How long the threads of a session hand a lease on among them before others may have it."""
TOLD_AFTER = 5.0
"""Seconds of waiting after which people are told for whom."""


class Turn:
    """The turn on one branch; not for several threads.

    Attributes:
        fence: what every move of the branch is tied to.
        last: whether the session is done with the branch; its fence is taken down then.
    """

    def __init__(self, lease: Lease, fence: Fence, last: bool, again: Callable[[], Fenced]) -> None:
        self.lease, self.fence, self.last, self._again = lease, fence, last, again

    def take_again(self) -> None:
        """Take a lease again that somebody else had taken over; the branch may have moved."""
        self.lease, self.fence = self._again()

    def do(self, act: Callable[[Fence], _T], before_again: Callable[[], None] | None = None) -> _T:
        """Do what moves the branch; once more in a new turn when somebody had taken ours over.

        Args:
            act: given the fence; it finds out by itself where the branch is.
            before_again: may refuse to do it once more.
        """
        while True:
            try:
                return act(self.fence)
            except StaleLeaseError as stale:
                log.warning("%s", stale)
                self.take_again()
                if before_again is not None:
                    before_again()


class LandingTurns:
    """The turns of one session. Thread-safe; close it when no thread is in one.

    Args:
        store: where the leases are.
        repository: where the branches are.
        ttl: seconds that a lease lasts without a sign of life.
        keep_fences: leave the fence of a branch up between two turns, until `close`: for who lands
            on it again and again.
    """

    def __init__(
        self,
        store: StateStore,
        repository: Repository,
        ttl: float = LEASE_SEC,
        keep_fences: bool = False,
    ) -> None:
        self._repository, self._ttl, self._keep = repository, ttl, keep_fences
        self._leases = FencedLeases(store, repository, ttl)
        self._handed_on: dict[str, Fenced] = {}
        self._held_since: dict[str, float] = {}
        self._waiting: Counter[str] = Counter()
        self._guard = threading.Lock()

    @contextmanager
    def turn(self, branch: str, stop: threading.Event | None = None) -> Iterator[Turn | None]:
        """Wait for the turn on a branch; None when it was told to stop before it came."""
        stop = stop or threading.Event()
        with self._in_line(branch):
            taken = self._handed_on.pop(branch, None) or self._take(branch, stop)
            if taken is None:
                yield None
                return
            lease, fence = taken
            turn = Turn(lease, fence, not self._keep, partial(self._take_again, branch))
            with self._renewed(turn):
                try:
                    yield turn
                finally:
                    self._end(turn)

    @contextmanager
    def _in_line(self, branch: str) -> Iterator[None]:
        """Wait for this thread's turn; counted while it waits."""
        with self._guard:
            self._waiting[branch] += 1
        waiting = True
        try:
            with landing_turn(self._repository, branch):
                with self._guard:
                    self._waiting[branch] -= 1
                waiting = False
                yield
        finally:
            if waiting:
                with self._guard:
                    self._waiting[branch] -= 1

    def close(self) -> None:
        """Take the fences down that are still up. A branch that somebody else has is theirs."""
        for branch in self._leases.up():
            self.retire(branch)

    def retire(self, branch: str) -> bool:
        """Shut out whoever may still believe that a branch is theirs, and take its fence down.

        Nobody is waited for: False when somebody holds the branch who may live, and whose it is.
        """
        with landing_turn(self._repository, branch):
            self._handed_on.pop(branch, None)
            return self._leases.retire(branch)

    def retire_dead(self) -> None:
        """Take over and put right what sessions left behind whose processes are gone."""
        for branch in self._leases.of_others():
            self.retire(branch)

    # -- taking --------------------------------------------------------------------------------

    def _take(self, branch: str, stop: threading.Event) -> Fenced | None:
        """Wait for the lease of a branch and put its fence up."""
        began, told, pause = time.monotonic(), False, FIRST_PAUSE
        while True:
            lease = self._leases.acquire(branch)
            if isinstance(lease, Lease):
                fenced = self._leases.fenced(lease)
                if fenced is not None:
                    self._held_since[branch] = time.monotonic()
                    return fenced
                continue  # taken over before the fence was up
            if not told and time.monotonic() - began > TOLD_AFTER:
                told = True
                log.warning(
                    "waiting to land on %s: process %s on %s lands there since %s",
                    *(branch, lease.pid, lease.host, lease.acquired_at),
                )
            if stop.wait(pause):
                return None
            pause = min(2 * pause, LONGEST_PAUSE)

    def _take_again(self, branch: str) -> Fenced:
        self._leases.forget(branch)
        taken = self._take(branch, threading.Event())
        assert taken is not None
        return taken

    # -- holding and ending --------------------------------------------------------------------

    @contextmanager
    def _renewed(self, turn: Turn) -> Iterator[None]:
        """Renew the lease of a turn during a block."""
        over = threading.Event()
        thread = threading.Thread(
            target=self._renew, args=(turn, over), name="patchline-lease", daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _renew(self, turn: Turn, over: threading.Event) -> None:
        while not over.wait(self._ttl / RENEWALS):
            try:
                self._leases.renew(turn.lease)
            except StaleLeaseError:
                log.warning("the lease on %s was taken over", turn.lease.branch)
            except Exception:
                log.exception("the lease on %s was not renewed, trying again", turn.lease.branch)

    def _end(self, turn: Turn) -> None:
        branch = turn.lease.branch
        crash_point("turn-over", "nothing more is moved in this turn; its lease is held")
        if turn.last:
            self._leases.take_down(turn.fence)
        elif self._may_hand_on(branch):
            self._handed_on[branch] = turn.lease, turn.fence
            return
        self._leases.release(turn.lease)

    def _may_hand_on(self, branch: str) -> bool:
        """Whether a thread of ours waits for the branch, and others have not waited for long."""
        held_for = time.monotonic() - self._held_since[branch]
        with self._guard:
            return self._waiting[branch] > 0 and held_for < HAND_ON_SEC
