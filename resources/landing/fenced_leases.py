"""The leases of one session, each told to git by a fence (ADR 12).

The lease in the database says who may move a branch (`state.leases`); the fence in git holds back
whoever has lost it without knowing (`landing.fences`).
"""

import logging
import os
import socket
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from resources.commands.identity import process_started_at
from resources.git.ref_moves import Fence
from resources.git.repository import Repository
from resources.landing import fences
from state import leases
from state.crash_points import crash_point
from state.errors import StaleLeaseError
from state.leases import Held, Holder, Lease
from state.lost_transactions import redone_when_lost
from state.store import StateStore

log = logging.getLogger(__name__)
_T = TypeVar("_T")

Fenced = tuple[Lease, Fence]
"""A lease, and its fence, which is up."""


class FencedLeases:
    """Takes leases and puts their fences up; one thread at a time for each branch.

    Args:
        store: where the leases are.
        repository: where the branches are.
        ttl: seconds that a lease lasts without a sign of life.
    """

    def __init__(self, store: StateStore, repository: Repository, ttl: float) -> None:
        self._store, self._repository, self._ttl = store, repository, ttl
        self._name = str(repository.git_dir)
        started = str(process_started_at(os.getpid()) or 0.0)
        name = f"{store.ids.new('lander_')}.{os.getpid()}"
        self._holder = Holder(name, socket.gethostname(), os.getpid(), started)
        self._fences: dict[str, Fence] = {}
        self._database: str | None = None

    def acquire(self, branch: str) -> Lease | Held:
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

    def fenced(self, lease: Lease) -> Fenced | None:
        """Put the fence of a lease up, if it is not; None when the lease was lost meanwhile."""
        crash_point("lease-taken", "the lease is held; the fence is still its former holder's")
        fence = self._fences.get(lease.branch)
        if fence is not None and fence.token == lease.token:
            return lease, fence  # nobody has had the branch since
        reference = self._reference(lease.branch)
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

    def renew(self, lease: Lease) -> None:
        """Let a lease last anew. Raises StaleLeaseError when somebody else has it."""
        self._write(leases.renew, lease, self._ttl)

    def release(self, lease: Lease) -> None:
        """Give a lease back; one that somebody else has is theirs."""
        self._write(leases.release, lease)

    def forget(self, branch: str) -> None:
        """Nothing that was known of a branch's fence counts any more."""
        self._fences.pop(branch, None)

    def take_down(self, fence: Fence) -> None:
        """Take the fence of a lease down that is held."""
        self.forget(fence.branch)
        self._repository.delete_reference(fence.reference, fence.oid)

    def retire(self, branch: str) -> bool:
        """Take a branch's lease and its fence down, whosever it was; False when they may live."""
        self.forget(branch)
        lease = self.acquire(branch)
        if isinstance(lease, Held):
            return False
        crash_point("lease-of-the-retired", "a lease is taken to take its branch's fence down")
        for found in fences.find(self._repository, self._reference(branch)):
            self._repository.delete_reference(found.reference, found.oid)
        crash_point("fence-down", "a branch's fence is taken down; its lease is held")
        self.release(lease)
        return True

    def up(self) -> list[str]:
        """The branches whose fence is ours, as far as we know."""
        return list(self._fences)

    def of_others(self) -> list[str]:
        """The branches that somebody has a lease of, and those with a fence that is not ours."""
        held = self._store.look(lambda connection: leases.held_in(connection, self._name))
        found = {one.branch for one in held}
        for one in fences.find(self._repository, fences.FOLDER):
            if one.reference == self._reference(one.branch) and one.branch not in self._fences:
                found.add(one.branch)
        return sorted(found)

    @redone_when_lost
    def _write(self, work: Callable[..., _T], *args: object) -> _T:
        with self._store.batch() as tx:
            return work(tx, *args)

    def _reference(self, branch: str) -> str:
        if not self._database:
            self._database = self._store.look(leases.identity_of)
        return fences.reference_of(self._database, leases.lease_id(self._name, branch))


def _is_gone(held: Held) -> bool:
    """Whether the process of a holder is known to be gone: only on this computer."""
    if held.host != socket.gethostname():
        return False
    started = process_started_at(held.pid)
    return started is None or abs(started - float(held.pid_started_at)) >= 1.0
