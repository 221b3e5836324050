"""Heartbeats: the only sign of life of a worker; written often, so never audited (decisions K1)."""

from state import guards, statements
from state.connection import as_dict
from state.entities import kind_of
from state.errors import StaleTokenError, TerminalStateViolation
from state.transaction import Transaction


def beat(tx: Transaction, worker_id: str, token: str | None) -> None:
    """Set the worker's `heartbeat_at` to now.

    Raises:
        EntityNotFoundError: no such worker.
        StaleTokenError: the attempt that beats is no longer the worker's live one.
        TerminalStateViolation: the worker was shut down; it must stop.
    """
    row = tx.get("worker", worker_id)
    if row.state == "shutdown":
        if token is not None:
            raise StaleTokenError("worker", worker_id, token, None)
        raise TerminalStateViolation("worker", worker_id, row.state, "alive", ())
    if token is not None:
        guards.check_token(tx.connection, kind_of("worker"), worker_id, as_dict(row), token)
    beat_at = {"heartbeat_at": tx.now(), statements.KEY: worker_id}
    tx.connection.write(statements.BEAT, beat_at)
    tx.release(kind_of("worker"), worker_id)
