"""Who may move a branch: one lease for each, with a token that grows with every new holder.

One UPDATE decides who holds it. The database cannot keep a holder that has lost its lease from
touching git; the token is what git is told to look for (`resources.landing.fences`). Source: issue
"Landing", design section 4 step 6.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import BindParameter, Text, bindparam, case, or_, select

from state.clock_and_ids import timestamp
from state.connection import Connection
from state.errors import StaleLeaseError, TransactionLostError
from state.schema import landing_leases, state_transitions
from state.transaction import Transaction

_C = landing_leases.c
_KEY: BindParameter[str] = bindparam("the_key", type_=Text)
_OURS = (_C.lease_id == _KEY, _C.holder == bindparam("the_holder"), _C.token == bindparam("tok"))
_TAKE = (
    landing_leases.update()
    .where(
        _C.lease_id == _KEY,
        or_(
            _C.holder.is_(None),
            _C.holder == bindparam("the_holder"),
            _C.holder == bindparam("the_gone"),
            _C.expires_at <= bindparam("the_now"),
        ),
    )
    .values(token=case((_C.token == bindparam("tok"), _C.token), else_=_C.token + 1))
    .returning(_C.token)
)
_RENEW = landing_leases.update().where(*_OURS)
_RAISE = _RENEW.values(token=bindparam("the_new_token"))
_RELEASE = _RENEW.values(holder=None, expires_at=None)
_BY_KEY = select(landing_leases).where(_C.lease_id == _KEY)
_OF_REPOSITORY = select(landing_leases).where(_C.repository == bindparam("the_repository"))
_NEW = landing_leases.insert()
_FIRST_AUDIT_ROW = (
    select(state_transitions.c.event_id).order_by(state_transitions.c.transition_id).limit(1)
)


@dataclass(frozen=True, slots=True)
class Holder:
    """Who asks for a lease.

    Attributes:
        name: unique; of one session in one process.
        host, pid, pid_started_at: its process, for others to look whether it lives.
    """

    name: str
    host: str
    pid: int
    pid_started_at: str


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to move a branch, until it expires or is released."""

    repository: str
    branch: str
    holder: str
    token: int

    @property
    def lease_id(self) -> str:
        """The key of its row."""
        return lease_id(self.repository, self.branch)


@dataclass(frozen=True, slots=True)
class Held:
    """Somebody else has the lease."""

    branch: str
    holder: str
    host: str
    pid: int
    pid_started_at: str
    acquired_at: str
    expires_at: str


def lease_id(repository: str, branch: str) -> str:
    """The key of a branch's lease."""
    return hashlib.sha256(f"{repository}\0{branch}".encode("utf-8", "surrogateescape")).hexdigest()


def acquire(
    tx: Transaction,
    repository: str,
    branch: str,
    holder: Holder,
    ttl: float,
    *,
    known: int | None = None,
    gone: str | None = None,
) -> Lease | Held:
    """Take the lease of a branch, if nobody has it, it has expired, or its holder is gone.

    Args:
        tx: the transaction.
        repository: the git directory.
        branch: without `refs/heads/`.
        holder: who asks.
        ttl: seconds until it expires unless it is renewed.
        known: the token that `holder` had last; it is kept if nobody else had one since.
        gone: the name of a holder whose process is known to be gone.

    Raises:
        TransactionLostError: another process made the first lease of the branch at this moment.
    """
    key = lease_id(repository, branch)
    row = tx.connection.first(_BY_KEY, {"the_key": key})
    if row is None:
        _make(tx, key, repository, branch)
    now = tx.settings.clock.now()
    values = {
        **_columns(holder),
        "acquired_at": timestamp(now),
        "expires_at": timestamp(now + timedelta(seconds=ttl)),
        "the_key": key,
        "the_holder": holder.name,
        "the_gone": gone or holder.name,
        "the_now": timestamp(now),
        "tok": -1 if known is None else known,
    }
    taken: Any = tx.connection.first(_TAKE, values)
    if taken is not None:
        return Lease(repository, branch, holder.name, taken.token)
    return _held(tx.connection.first(_BY_KEY, {"the_key": key}))


def _make(tx: Transaction, key: str, repository: str, branch: str) -> None:
    try:
        tx.connection.write(
            _NEW,
            {
                "lease_id": key,
                "repository": repository,
                "branch": branch,
                "token": 0,
                "created_at": tx.now(),
            },
        )
    except tx.connection.broken_rule as error:
        raise TransactionLostError(f"The lease of {branch} was made by somebody else.") from error


def _columns(holder: Holder) -> dict[str, Any]:
    return {
        "holder": holder.name,
        "host": holder.host,
        "pid": holder.pid,
        "pid_started_at": holder.pid_started_at,
    }


def _held(row: Any) -> Held:
    return Held(
        row.branch,
        row.holder,
        row.host,
        row.pid,
        row.pid_started_at,
        row.acquired_at,
        row.expires_at,
    )


def renew(tx: Transaction, lease: Lease, ttl: float) -> None:
    """Hold a lease for `ttl` seconds from now.

    Raises:
        StaleLeaseError: somebody else has taken it over.
    """
    expires = timestamp(tx.settings.clock.now() + timedelta(seconds=ttl))
    if tx.connection.write(_RENEW, {"expires_at": expires, **_key_of(lease)}) != 1:
        raise StaleLeaseError(lease.branch, lease.token)


def raise_token(tx: Transaction, lease: Lease, above: int) -> Lease:
    """Give a lease a token above one that is known to git, and to this database no more.

    A database that was put back to an earlier state has forgotten tokens that it gave out.

    Raises:
        StaleLeaseError: somebody else has taken the lease over.
    """
    if tx.connection.write(_RAISE, {"the_new_token": above + 1, **_key_of(lease)}) != 1:
        raise StaleLeaseError(lease.branch, lease.token)
    return Lease(lease.repository, lease.branch, lease.holder, above + 1)


def release(tx: Transaction, lease: Lease) -> bool:
    """Let go of a lease; False when somebody else has taken it over, which is left to them."""
    return tx.connection.write(_RELEASE, _key_of(lease)) == 1


def check(connection: Connection, lease: Lease) -> None:
    """Make sure that nobody else has taken a lease over. An expired one is ours until they do.

    Raises:
        StaleLeaseError: somebody has.
    """
    row = connection.first(_BY_KEY, {"the_key": lease.lease_id})
    if row is None or (row.holder, row.token) != (lease.holder, lease.token):
        raise StaleLeaseError(lease.branch, lease.token)


def held_in(connection: Connection, repository: str) -> Sequence[Held]:
    """Every lease on a branch of a repository that somebody holds, also expired ones."""
    rows = connection.rows(_OF_REPOSITORY, {"the_repository": repository})
    return [_held(row) for row in rows if row.holder is not None]


def identity_of(connection: Connection) -> str:
    """What tells this database from every other one; empty as long as it holds nothing."""
    return connection.scalar(_FIRST_AUDIT_ROW, {}) or ""


def _key_of(lease: Lease) -> dict[str, Any]:
    return {"the_key": lease.lease_id, "the_holder": lease.holder, "tok": lease.token}
