"""Turns to move a branch: one lander at a time, in this process and in all others.

Threads of one process take turns by a lock; sessions by a lease in the database (`state.leases`),
which each new holder tells to git as well (`landing.fences`). The lease is renewed while its holder
works, expires when it does not, and is taken over at once from a process that is gone.
"""

import logging
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from resources.commands.identity import process_started_at
from resources.git.ref_moves import Fence
from resources.git.repository import Repository
from resources.landing import fences
from resources.landing.thread_turns import landing_turn
from state import leases
from state.crash_points import crash_point
from state.errors import StaleLeaseError
from state.leases import Held, Holder, Lease
from state.lost_transactions import redone_when_lost
from state.store import StateStore

log = logging.getLogger(__name__)
_T = TypeVar("_T")

LEASE_SEC = 30.0
"""How long a lease outlives its last sign of life, where nobody can look at its process."""
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

    def __init__(
        self, lease: Lease, fence: Fence, last: bool, again: Callable[[], tuple[Lease, Fence]]
    ) -> None:
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
        self._store, self._repository, self._ttl = store, repository, ttl
        self._keep = keep_fences
        self._name = str(repository.git_dir)
        started = str(process_started_at(os.getpid()) or 0.0)
        name = f"{store.ids.new('lander_')}.{os.getpid()}"
        self._holder = Holder(name, socket.gethostname(), os.getpid(), started)
        self._fences: dict[str, Fence] = {}
        self._handed_on: dict[str, tuple[Lease, Fence]] = {}
        self._held_since: dict[str, float] = {}
        self._waiting: Counter[str] = Counter()
        self._guard = threading.Lock()
        self._database: str | None = None

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
        for branch in list(self._fences):
            self.retire(branch)

    def retire(self, branch: str) -> bool:
        """Shut out whoever may still believe that a branch is theirs, and take its fence down.

        Nobody is waited for: False when somebody holds the branch who may live, and whose it is.
        """
        with landing_turn(self._repository, branch):
            self._forget(branch)
            lease = self._acquire(branch)
            if isinstance(lease, Held):
                return False
            crash_point("lease-of-the-retired", "a lease is taken to take its branch's fence down")
            for found in fences.find(self._repository, self._reference(lease)):
                self._repository.delete_reference(found.reference, found.oid)
            crash_point("fence-down", "a branch's fence is taken down; its lease is held")
            self._write(leases.release, lease)
        return True

    def retire_dead(self) -> None:
        """Take over and put right what sessions left behind whose processes are gone."""
        held = self._store.look(lambda connection: leases.held_in(connection, self._name))
        left = {one.branch for one in held}
        for found in fences.find(self._repository, fences.FOLDER):
            ours = self._reference_of(found.branch)
            if found.reference == ours and found.branch not in self._fences:
                left.add(found.branch)
        for branch in sorted(left):
            self.retire(branch)

    # -- taking --------------------------------------------------------------------------------

    def _take(self, branch: str, stop: threading.Event) -> tuple[Lease, Fence] | None:
        """Wait for the lease of a branch and put its fence up."""
        began, told, pause = time.monotonic(), False, FIRST_PAUSE
        while True:
            lease = self._acquire(branch)
            if isinstance(lease, Lease):
                fenced = self._fenced(lease)
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

    def _forget(self, branch: str) -> None:
        """Nothing that was known of a branch's lease counts any more."""
        self._fences.pop(branch, None)
        self._handed_on.pop(branch, None)

    def _take_again(self, branch: str) -> tuple[Lease, Fence]:
        self._forget(branch)
        taken = self._take(branch, threading.Event())
        assert taken is not None
        return taken

    def _acquire(self, branch: str) -> Lease | Held:
        """Take the lease if it is free, or its holder is gone."""
        before = self._fences.get(branch)
        ask = partial(
            leases.acquire,
            repository=self._name,
            branch=branch,
            holder=self._holder,
            ttl=self._ttl,
            known=before.token if before else None,
        )
        found = self._write(ask)
        if isinstance(found, Held) and _is_gone(found):
            log.info("process %s held %s and is gone", found.pid, branch)
            found = self._write(partial(ask, gone=found.holder))
        return found

    def _fenced(self, lease: Lease) -> tuple[Lease, Fence] | None:
        """The fence of a lease; None when the lease was lost meanwhile."""
        crash_point("lease-taken", "the lease is held; the fence is still its former holder's")
        fence = self._fences.get(lease.branch)
        if fence is not None and fence.token == lease.token:
            return lease, fence  # nobody has had the branch since
        reference = self._reference(lease)
        try:
            while fence is None or fence.token != lease.token:
                found = next(iter(fences.find(self._repository, reference)), None)
                if found is not None and (found.token or 0) >= lease.token:
                    # Somebody's after ours; or this database was put back to an earlier state.
                    lease = self._write(leases.raise_token, lease, found.token)
                fence = fences.put_up(self._repository, lease, reference, found)
            # A lander that slept until now may have put its own over a fence taken down meanwhile.
            held = lease
            self._store.look(lambda connection: leases.check(connection, held))
        except StaleLeaseError:
            if fence is not None:
                self._repository.delete_reference(fence.reference, fence.oid)
            return None
        self._fences[lease.branch] = fence
        return lease, fence

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
                self._write(leases.renew, turn.lease, self._ttl)
            except StaleLeaseError:
                log.warning("the lease on %s was taken over", turn.lease.branch)
            except Exception:
                log.exception("the lease on %s was not renewed, trying again", turn.lease.branch)

    def _end(self, turn: Turn) -> None:
        branch = turn.lease.branch
        crash_point("turn-over", "nothing more is moved in this turn; its lease is held")
        if turn.last:
            self._forget(branch)
            self._repository.delete_reference(turn.fence.reference, turn.fence.oid)
        elif self._may_hand_on(branch):
            self._handed_on[branch] = turn.lease, turn.fence
            return
        self._write(leases.release, turn.lease)

    def _may_hand_on(self, branch: str) -> bool:
        """Whether a thread of ours waits for the branch, and others have not waited for long."""
        held_for = time.monotonic() - self._held_since[branch]
        with self._guard:
            return self._waiting[branch] > 0 and held_for < HAND_ON_SEC

    # -- the store -----------------------------------------------------------------------------

    @redone_when_lost
    def _write(self, work: Callable[..., _T], *args: object) -> _T:
        with self._store.batch() as tx:
            return work(tx, *args)

    def _reference(self, lease: Lease) -> str:
        return self._reference_of(lease.branch)

    def _reference_of(self, branch: str) -> str:
        if not self._database:
            self._database = self._store.look(leases.identity_of)
        return fences.reference_of(self._database, leases.lease_id(self._name, branch))


def _is_gone(held: Held) -> bool:
    """Whether the process of a holder is known to be gone: only on this computer."""
    if held.host != socket.gethostname():
        return False
    started = process_started_at(held.pid)
    return started is None or abs(started - float(held.pid_started_at)) >= 1.0
