"""One transaction: everything that may be written, and the only code that writes `state`."""

from collections.abc import Mapping
from typing import Any

from state import attempts, audit, creation, guards, links, reads, statements, updates
from state.audit import Entry, TransitionRecord
from state.claims import Claim, claim
from state.clock_and_ids import timestamp
from state.connection import Connection, Row, as_dict
from state.entities import Kind, clean, kind_of, refuse_fixed, storable
from state.errors import (
    EntityExistsError,
    OptimisticLockError,
    PatchlineError,
    UnauthorizedError,
)
from state.integrity import explain
from state.machines import NONE_STATE
from state.rules import Change, Request, at_least_warning, judge, legal
from state.schema import audit_checkpoints
from state.settings import Settings

_NEW_CHECKPOINT = audit_checkpoints.insert()
_NONE: frozenset[str] = frozenset()
_WITH_A_CHANGE = {"task": frozenset({"worker_id"})}
"""Columns that only a change of state may be given."""


class Transaction:
    """The store's writing face inside one database transaction; made by `StateStore.batch`."""

    def __init__(
        self, connection: Connection, settings: Settings, records: list[TransitionRecord]
    ) -> None:
        self.connection = connection
        self.settings = settings
        self.records = records
        self.refused: PatchlineError | None = None
        self.free_workers: set[str] = set()
        self._held: dict[tuple[str, str], dict[str, Any]] = {}

    def now(self) -> str:
        """The injected clock's time as stored text."""
        return timestamp(self.settings.clock.now())

    # Reading

    def get(self, entity_type: str, entity_id: str) -> Row:
        """The row as this transaction sees it.

        Raises:
            EntityNotFoundError: there is none.
        """
        return reads.fetch(self.connection, kind_of(entity_type), entity_id)

    def find(self, entity_type: str, *, limit: int | None = None, **filters: Any) -> list[Row]:
        """Rows whose columns equal the filters (a list: one of these), oldest first."""
        return reads.search(self.connection, kind_of(entity_type), filters, limit)

    # Creating

    def create(
        self,
        entity_type: str,
        *,
        reason: str | None = None,
        operator: str | None = None,
        **columns: Any,
    ) -> Row:
        """Insert a row in its machine's initial state, with an audit row from `none`.

        Raises:
            InvalidTransitionError: a state was given that is not the initial one.
            EntityExistsError, EntityNotFoundError: the key is taken; a parent is missing.
            GuardNotSatisfied: a column that the row cannot be without is missing.
        """
        kind = kind_of(entity_type)
        _refuse_nameless(operator, f"make a {kind.name}")
        for name, value in (("reason", reason), ("operator", operator)):
            if value is not None and name in kind.columns:
                columns[name] = value
        values = creation.complete(
            self.connection, self.settings, kind, clean(kind, columns), self.now()
        )
        try:
            if kind.machine is not None:
                entry = Entry(
                    entity_type,
                    values[kind.key],
                    1,
                    NONE_STATE,
                    kind.machine.initial,
                    "created",
                    at_least_warning("info") if operator else "info",
                    values["updated_at"],
                    reason,
                    operator,
                    audit.told(entity_type, {k: v for k, v in columns.items() if v is not None}),
                )
                values["audit_head"] = self.audited(kind, values, entry).hash
            row = self.connection.rows(statements.insert(kind.name), values)[0]
        except self.connection.broken_rule as error:
            raise self.explained(kind, values, "created", error) from error
        self.hold(kind, row)
        return row

    # Changing state

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
        """Change a state, with its columns and its audit row (design sections 2 and 7).

        `metadata` belongs to the audit row. Checked in this order: existence, legality, version
        and token, guards.

        Raises:
            EntityNotFoundError, TerminalStateViolation, InvalidTransitionError,
            OptimisticLockError, StaleTokenError, GuardNotSatisfied, TimestampOrderingViolation,
            UnauthorizedError: `operator` is given, but empty.
        """
        kind = kind_of(entity_type)
        machine = kind.machine_of()
        _refuse_nameless(operator, f"change the state of a {kind.name}")
        values = clean(kind, columns)
        reason = reason and storable(reason)
        refuse_fixed(kind, values, besides=_WITH_A_CHANGE.get(entity_type, _NONE))
        row = self.locked(kind, entity_id)
        request = Request(
            machine=machine,
            entity_id=entity_id,
            row=row,
            target=machine.spelling(target),
            now=self.now(),
            trigger=trigger,
            reason=reason,
            operator=operator,
            columns=values,
        )
        step = legal(request, strict=self.settings.strict)
        self._check_current(kind, entity_id, row, expected_version, token)
        change = judge(request, step)
        guards.check(self.connection, request, self.free_workers)
        self._add_blockers(request, change)
        about = dict(metadata or {})
        if change.extension:
            about["extension"] = True
        about |= audit.told(entity_type, change.columns)
        attempt = attempts.plan(self, request, change, about)
        entry = Entry(
            entity_type,
            entity_id,
            row["version"] + 1,
            request.source,
            request.target,
            change.trigger,
            change.severity,
            change.at,
            change.reason,
            operator,
            about,
        )
        try:
            record = self.audited(kind, row, entry)
            self._write(kind, request, change, record.hash)
            attempts.apply(self.connection, request, change, attempt)
        except self.connection.broken_rule as error:
            told = {**row, **change.columns}
            raise self.explained(kind, told, request.target, error) from error
        return record

    def _add_blockers(self, request: Request, change: Change) -> None:
        if request.target == "blocked" and "blocked_by" not in change.columns:
            change.columns["blocked_by"] = guards.unmet_dependencies(
                self.connection, request.machine.name, request.entity_id
            )

    def _write(self, kind: Kind, request: Request, change: Change, head: str) -> None:
        """The compare-and-swap on (state, version)."""
        version = request.row["version"]
        values = {
            **change.columns,
            "state": request.target,
            "version": version + 1,
            "updated_at": change.at,
            "audit_head": head,
            statements.KEY: request.entity_id,
            statements.STATE: request.source,
            statements.VERSION: version,
        }
        if self.connection.write(statements.swap(kind.name), values) != 1:
            given = {statements.KEY: request.entity_id}
            found = self.connection.first(statements.by_key(kind.name), given)
            actual = None if found is None else found.version
            self.refused = OptimisticLockError(kind.name, request.entity_id, version, actual)
            raise self.refused
        for name in (statements.KEY, statements.STATE, statements.VERSION):
            del values[name]
        self._held[kind.name, request.entity_id] = {**request.row, **values}

    # Other writes

    def update(
        self, entity_type: str, entity_id: str, *, token: str | None = None, **columns: Any
    ) -> Row:
        """Change columns that are not the state, without a new version.

        `version` counts changes of state alone, so that an update (a heartbeat's sibling, a pid, a
        head commit) never makes another's `expected_version` stale. `metadata` is replaced whole;
        of an ended entity it is all that may change. An audit row tells that, and a change of what
        can be proved (`state.facts.PROVED`); other updates leave none.

        Raises:
            EntityNotFoundError, StaleTokenError: no such row; the token is not the live one.
            StoreUsageError: a column that says what the row is, or that transitions write.
            TerminalStateViolation: the entity has ended; only `metadata` may still change.
        """
        return updates.update(self, kind_of(entity_type), entity_id, token, columns)

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
        """Write an audit row for an act that is no change of state: a hold, a release, a resume.

        Its `from_state` equals its `to_state`; `columns` are updated with it.

        Raises:
            EntityNotFoundError, StoreUsageError, TerminalStateViolation: see `update`.
        """
        _refuse_nameless(operator, f"note an act on a {entity_type}")
        act = updates.Act(trigger, reason, operator, metadata)
        return updates.record(self, kind_of(entity_type), entity_id, act, columns)

    def add_dependency(self, entity_type: str, entity_id: str, depends_on: str) -> None:
        """Make a task or workstream wait for another of its kind; twice is once.

        Raises:
            EntityNotFoundError: one of the two does not exist.
            StoreUsageError: other kinds, a row of another run, or one that would wait for itself,
                also over others.
        """
        links.add_dependency(self.connection, kind_of(entity_type), entity_id, depends_on)

    def add_task_gate(self, task_id: str, gate_id: str, role: str) -> None:
        """Give a gate a role for a task: `entry` or `exit`; twice is once.

        Raises:
            EntityNotFoundError: the task or the gate does not exist.
            StoreUsageError: another role.
        """
        links.add_task_gate(self.connection, task_id, gate_id, role)

    def add_checkpoint(self, values: Mapping[str, Any]) -> None:
        """Keep a checkpoint of the audit history; see `state.checkpoints.checkpoint`.

        Raises:
            EntityExistsError: the number is taken: somebody else made one in between.
        """
        try:
            self.connection.write(_NEW_CHECKPOINT, values)
        except self.connection.broken_rule as error:
            self.refused = EntityExistsError("checkpoint", str(values["checkpoint_id"]))
            raise self.refused from error

    def claim_task(
        self,
        worker_id: str,
        *,
        task_id: str | None = None,
        capabilities: frozenset[str] | set[str] = frozenset(),
        workstream_id: str | None = None,
    ) -> Claim | None:
        """See `state.claims.claim`."""
        return claim(
            self,
            worker_id,
            task_id=task_id,
            capabilities=frozenset(capabilities),
            workstream_id=workstream_id,
        )

    # Parts

    def locked(self, kind: Kind, entity_id: str) -> Mapping[str, Any]:
        """A row that nobody else changes until this transaction ends; read once.

        Raises:
            EntityNotFoundError: there is none.
        """
        held = self._held.get((kind.name, entity_id))
        if held is None:
            held = self.hold(kind, reads.lock(self.connection, kind, entity_id))
        return held

    def hold(self, kind: Kind, row: Row) -> dict[str, Any]:
        """Keep a row that this transaction has locked or written, so that it need not be read."""
        values = as_dict(row)
        self._held[kind.name, values[kind.key]] = values
        return values

    def release(self, kind: Kind, entity_id: str) -> None:
        """Forget a row that was written past `update` and `transition`."""
        self._held.pop((kind.name, entity_id), None)

    def _check_current(
        self,
        kind: Kind,
        entity_id: str,
        row: Mapping[str, Any],
        expected_version: int | None,
        token: str | None,
    ) -> None:
        if expected_version is not None and expected_version != row["version"]:
            raise OptimisticLockError(kind.name, entity_id, expected_version, row["version"])
        if token is not None:
            guards.check_token(self.connection, kind, entity_id, row, token)

    def audited(self, kind: Kind, row: Mapping[str, Any], entry: Entry) -> TransitionRecord:
        """Write the audit row of a change that is about to be made to this row."""
        context = self.settings.contexts.find(self.connection, kind.name, row)
        head = row.get("audit_head")
        record = audit.write(self.connection, self.settings.ids, entry, context, head)
        self.records.append(record)
        return record

    def explained(
        self, kind: Kind, row: Mapping[str, Any], aim: str, error: Exception
    ) -> PatchlineError:
        """What the database has refused, as an error of ours.

        Half of the writes may be done by then, so the whole transaction is given up, whoever
        catches it.
        """
        self.refused = explain(self.connection, kind, row, aim, error)
        return self.refused


def _refuse_nameless(operator: str | None, action: str) -> None:
    """An operator has a name; whoever leaves it empty would act for nobody (decisions E3)."""
    if operator is not None and not operator.strip():
        raise UnauthorizedError(action)
