"""The one door to the single source of truth (design section 7)."""

from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import sqlalchemy as sa

from state import reads
from state.audit import Contexts, TransitionRecord
from state.claims import Claim
from state.clock_and_ids import Clock, IdSource, SystemClock, UlidSource, timestamp
from state.connection import Connection, Row
from state.crash_points import crash_point
from state.database import Database, open_database
from state.entities import kind_of
from state.errors import StoreUsageError
from state.events import EventFile
from state.heartbeats import beat
from state.lost_transactions import redone_when_lost
from state.settings import Settings
from state.transaction import Transaction

EVENT_FILE = "transitions.jsonl"
_T = TypeVar("_T")


class StateStore:
    """Every state, its rules and its history. Many threads may share one; processes open their own.

    Every writing method is one transaction that is on disk when it returns; `batch` joins several
    in one.
    """

    def __init__(self, database: Database, events: EventFile, settings: Settings) -> None:
        self.database = database
        self.events = events
        self._settings = settings
        self._closed = False

    @classmethod
    def open(
        cls,
        url: str,
        strict: bool = False,
        clock: Clock | None = None,
        ids: IdSource | None = None,
        events: str | Path | None = None,
    ) -> Self:
        """Open a store; a new SQLite file gets the schema, an old one is never altered.

        Args:
            url: `sqlite:///path/to/pipeline.db` or `postgresql+psycopg://user@host/database`.
            strict: refuse the machines' extensions.
            clock: says the time; the computer's by default.
            ids: makes ids; ULIDs by default.
            events: the JSONL event file; by default `transitions.jsonl` beside a SQLite file, or
                in the home (`$PATCHLINE_HOME`, `./.state`) for PostgreSQL.

        Raises:
            StoreUnavailableError: it cannot be opened, is not one of ours, or needs an upgrade.
            StoreUsageError: the address is not one.
        """
        database = open_database(url)
        try:
            settings = Settings(clock or SystemClock(), ids or UlidSource(), strict, Contexts())
            path = Path(events) if events else database.folder / EVENT_FILE
            path.parent.mkdir(parents=True, exist_ok=True)
            store = cls(database, EventFile(path, database), settings)
            store.events.catch_up()
        except BaseException:
            database.close()
            raise
        return store

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def clock(self) -> Clock:
        """The injected clock."""
        return self._settings.clock

    @property
    def strict(self) -> bool:
        """Whether the machines' extensions are refused."""
        return self._settings.strict

    @property
    def ids(self) -> IdSource:
        """The injected source of ids."""
        return self._settings.ids

    def now(self) -> str:
        """The injected clock's time as stored text."""
        return timestamp(self.clock.now())

    # Writing

    @contextmanager
    def batch(self) -> Generator[Transaction]:
        """One transaction: all of it is kept, or, when the block raises, none.

        Raises:
            StoreUsageError: this thread is inside a batch already, or the store is closed.
            StoreUnavailableError: the database cannot be written (locked, full, read-only).
            TransactionLostError: the database has dropped it; nothing of it is kept, and it may be
                done again (`state.lost_transactions`). The store's own methods do so themselves.
        """
        if self._closed:
            raise StoreUsageError("The store is closed. Open it again.")
        if self.database.writes_here:
            raise StoreUsageError("This thread is inside a batch: use the batch's own methods.")
        records: list[TransitionRecord] = []
        try:
            with self.database.writing(kept=lambda: self.events.enqueue(records)) as connection:
                tx = Transaction(connection, self._settings, records)
                yield tx
                if tx.refused is not None:
                    raise StoreUsageError(
                        f"The batch went on after a refused write; nothing of it is kept. "
                        f"The refusal was: {tx.refused}"
                    )
        except BaseException:
            self._settings.contexts.forget()
            if records:  # their numbers are a gap now, where the database has any
                self.events.publish_behind_gap()
            raise
        crash_point("transaction-kept", "its rows are in the database, not in the event file")
        if records:
            self.events.publish()

    @redone_when_lost
    def create(
        self,
        entity_type: str,
        *,
        reason: str | None = None,
        operator: str | None = None,
        **columns: Any,
    ) -> Row:
        """See `Transaction.create`."""
        with self.batch() as tx:
            return tx.create(entity_type, reason=reason, operator=operator, **columns)

    @redone_when_lost
    def transition(
        self,
        entity_type: str,
        entity_id: str,
        target: str,
        *,
        trigger: str | None = None,
        reason: str | None = None,
        operator: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        expected_version: int | None = None,
        token: str | None = None,
        **columns: Any,
    ) -> TransitionRecord:
        """See `Transaction.transition`."""
        with self.batch() as tx:
            return tx.transition(
                entity_type,
                entity_id,
                target,
                trigger=trigger,
                reason=reason,
                operator=operator,
                metadata=metadata,
                expected_version=expected_version,
                token=token,
                **columns,
            )

    @redone_when_lost
    def update(
        self, entity_type: str, entity_id: str, *, token: str | None = None, **columns: Any
    ) -> Row:
        """See `Transaction.update`."""
        with self.batch() as tx:
            return tx.update(entity_type, entity_id, token=token, **columns)

    @redone_when_lost
    def record(
        self,
        entity_type: str,
        entity_id: str,
        trigger: str,
        *,
        reason: str | None = None,
        operator: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        **columns: Any,
    ) -> TransitionRecord:
        """See `Transaction.record`."""
        with self.batch() as tx:
            return tx.record(
                entity_type,
                entity_id,
                trigger,
                reason=reason,
                operator=operator,
                metadata=metadata,
                **columns,
            )

    @redone_when_lost
    def claim_task(
        self,
        worker_id: str,
        *,
        task_id: str | None = None,
        capabilities: frozenset[str] | set[str] = frozenset(),
        workstream_id: str | None = None,
    ) -> Claim | None:
        """See `state.claims.claim`."""
        with self.batch() as tx:
            return tx.claim_task(
                worker_id,
                task_id=task_id,
                capabilities=capabilities,
                workstream_id=workstream_id,
            )

    @redone_when_lost
    def heartbeat(self, worker_id: str, *, token: str | None = None) -> None:
        """Say that a worker lives; neither a transition nor audited. See `state.heartbeats`."""
        with self.batch() as tx:
            beat(tx, worker_id, token)

    @redone_when_lost
    def add_dependency(self, entity_type: str, entity_id: str, depends_on: str) -> None:
        """See `Transaction.add_dependency`."""
        with self.batch() as tx:
            tx.add_dependency(entity_type, entity_id, depends_on)

    @redone_when_lost
    def add_task_gate(self, task_id: str, gate_id: str, role: str) -> None:
        """See `Transaction.add_task_gate`."""
        with self.batch() as tx:
            tx.add_task_gate(task_id, gate_id, role)

    # Reading

    def reading(self) -> AbstractContextManager[sa.Connection]:
        """A connection for several reads that see one and the same moment."""
        return self.database.reading()

    def look(self, work: Callable[[Connection], _T]) -> _T:
        """Do single reads, each of which sees what is kept at that moment; perhaps twice."""
        return self.database.look(work)

    def get(self, entity_type: str, entity_id: str) -> Row:
        """The row with that key; attributes by column name.

        Raises:
            EntityNotFoundError: there is none.
        """
        kind = kind_of(entity_type)
        return self.look(lambda connection: reads.fetch(connection, kind, entity_id))

    def find(self, entity_type: str, *, limit: int | None = None, **filters: Any) -> list[Row]:
        """Rows whose columns equal the filters (a list: one of these), oldest first."""
        kind = kind_of(entity_type)
        return self.look(lambda connection: reads.search(connection, kind, filters, limit))

    def close(self) -> None:
        """Bring the event file up to date and let go of the database. Twice is once."""
        if self._closed:
            return
        self._closed = True
        try:
            self.events.catch_up()
        finally:
            self.events.close()
            self.database.close()
