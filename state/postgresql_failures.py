"""What a PostgreSQL server or the way to it cannot do, in words that say what to do about it."""

import psycopg
from psycopg.errors import (
    AdminShutdown,
    CannotConnectNow,
    CrashShutdown,
    DeadlockDetected,
    InsufficientPrivilege,
    SerializationFailure,
)

from state.errors import StoreUnavailableError, TransactionLostError

LOCK_TIMEOUT_SEC = 120
"""How long a row that another session holds is waited for."""

AGAIN = (SerializationFailure, DeadlockDetected)
"""The server has dropped the transaction; it may be done again on the same connection."""

LEAVING = (AdminShutdown, CrashShutdown, CannotConnectNow)
"""The server is ending the session, even if the connection does not know yet."""

ENVIRONMENT = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.InternalError,
    InsufficientPrivilege,
)
"""What comes of the server and the network; other errors come of what was asked."""

_REMEDIES = {
    "25006": "The server takes no writes: name the primary in PATCHLINE_DATABASE_URL.",
    "42501": "Grant the user of PATCHLINE_DATABASE_URL the rights on patchline's tables.",
    "53100": "Make room on the server's disk, then do the same again.",
    "53300": "Raise the server's max_connections, or run fewer workers.",
    "55P03": f"Another session has held a row for more than {LOCK_TIMEOUT_SEC} s: end it"
    " (pg_blocking_pids tells which), then do the same again.",
}
# By SQLSTATE.


def is_gone(driver: psycopg.Connection, error: Exception) -> bool:
    """Whether a connection is of no more use."""
    return driver.closed or driver.broken or isinstance(error, LEAVING)


def failure(name: str, driver: psycopg.Connection, error: Exception) -> StoreUnavailableError:
    """The error for a transaction that failed before its commit was sent."""
    if not (is_gone(driver, error) or isinstance(error, AGAIN)):
        return unusable(name, error)
    return TransactionLostError(
        f"The database {name} has dropped a transaction: {said(error)}. Nothing of it is kept; "
        "do it again."
    )


def unusable(name: str, error: BaseException | None) -> StoreUnavailableError:
    """The error for what doing it again would not mend; or for a read, which keeps nothing."""
    remedy = _REMEDIES.get(getattr(error, "sqlstate", None) or "", "")
    return StoreUnavailableError(
        f"The database {name} cannot be used: {said(error)}. {remedy}".strip()
    )


def silent(name: str, error: BaseException | None) -> StoreUnavailableError:
    """The error for a server that was waited for in vain."""
    return StoreUnavailableError(
        f"The database {name} does not answer: {said(error)}. Start it, or check "
        "PATCHLINE_DATABASE_URL."
    )


def said(error: BaseException | None) -> str:
    """What the server said, in one line."""
    return " ".join(str(error).split()) or type(error).__name__
