"""What kinds of rows the store keeps: the eight machines, and kinds without states."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Table
from sqlalchemy.sql.schema import CallableColumnDefault, ScalarElementColumnDefault

from state import schema
from state.clock_and_ids import parse_timestamp, timestamp
from state.errors import StoreUsageError
from state.facts import IDENTITY, MANAGED
from state.machines import MACHINES, StateMachine

_PREFIXES = {
    "run": "run_",
    "workstream": "ws_",
    "task": "task_",
    "worker": "wkr_",
    "uet_worker": "uet_",
    "patch_ledger": "led_",
    "test_gate": "gate_",
    "circuit_breaker": "",
}
_ALWAYS_STORE_WRITTEN = frozenset({"state", "version", "updated_at", "audit_head"})


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of row: its table, key and, for the eight with states, its machine.

    `prefix` is what made-up ids begin with; empty when the caller must name the row. `fixed` are
    the columns that no caller changes, `identity` those among them that never change at all.
    `defaults` makes the value of every column that a new row is not given.
    """

    name: str
    table: Table
    key: str
    prefix: str
    machine: StateMachine | None
    columns: frozenset[str]
    fixed: frozenset[str]
    identity: frozenset[str]
    defaults: Mapping[str, Callable[[], Any]]
    immutable: bool = False

    def machine_of(self) -> StateMachine:
        """Its machine.

        Raises:
            StoreUsageError: rows of this kind have no states.
        """
        if self.machine is None:
            raise StoreUsageError(f"A {self.name} has no states, so it cannot change state.")
        return self.machine


def _kind(name: str, table: Table, key: str, prefix: str, *, immutable: bool = False) -> Kind:
    identity = IDENTITY.get(name, frozenset[str]()) | ({key, "created_at"} & {*table.c.keys()})
    managed = MANAGED.get(name, frozenset[str]())
    return Kind(
        name=name,
        table=table,
        key=key,
        prefix=prefix,
        machine=MACHINES.get(name),
        columns=frozenset(table.c.keys()),
        fixed=identity | managed | _ALWAYS_STORE_WRITTEN | {"created_at"},
        identity=identity,
        defaults={column.key: _default(column) for column in table.c},
        immutable=immutable,
    )


def _default(column: Column[Any]) -> Callable[[], Any]:
    default = column.default
    if isinstance(default, CallableColumnDefault):
        made = default.arg
        return lambda: made(None)  # pyright: ignore[reportArgumentType]: the context is unused
    value = default.arg if isinstance(default, ScalarElementColumnDefault) else None
    return lambda: value


KINDS: Mapping[str, Kind] = {
    **{
        name: _kind(name, schema.METADATA.tables[one.table], one.key, _PREFIXES[name])
        for name, one in MACHINES.items()
    },
    "phase": _kind("phase", schema.phases, "phase_id", "", immutable=True),
    "patch": _kind("patch", schema.patches, "patch_id", "patch_", immutable=True),
    "task_attempt": _kind("task_attempt", schema.task_attempts, "attempt_id", "att_"),
    "compensation_plan": _kind("compensation_plan", schema.compensation_plans, "plan_id", "comp_"),
    "compensation_action": _kind(
        "compensation_action", schema.compensation_actions, "action_id", "act_"
    ),
}


def kind_of(entity_type: str) -> Kind:
    """The kind of that name.

    Raises:
        StoreUsageError: there is no such kind.
    """
    try:
        return KINDS[entity_type]
    except KeyError as error:
        known = ", ".join(KINDS)
        raise StoreUsageError(
            f"There is no entity type {entity_type!r}. Known are: {known}."
        ) from error


def storable(text: str) -> str:
    """Text that every backend can keep: bytes that are no UTF-8 and NUL appear as escapes.

    Reasons and names come from tools and file names, which may hold anything.
    """
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "\\x00").encode(errors="backslashreplace").decode()


def clean(kind: Kind, values: Mapping[str, Any]) -> dict[str, Any]:
    """Column values as they are stored: known columns only, times as text, sets as lists.

    Raises:
        StoreUsageError: a name is no column of this kind, or a time cannot be read.
    """
    cleaned: dict[str, Any] = {}
    for name, value in values.items():
        if name not in kind.columns:
            raise StoreUsageError(
                f"A {kind.name} has no column {name!r}. It has: {', '.join(sorted(kind.columns))}."
            )
        if isinstance(value, datetime):
            value = timestamp(value)
        elif isinstance(value, str) and name.endswith("_at"):
            value = timestamp(parse_timestamp(value))
        elif isinstance(value, str):
            value = storable(value)
        elif isinstance(value, frozenset | set):
            value = sorted(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        elif isinstance(value, tuple):
            value = list(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        cleaned[name] = value
    return cleaned


def refuse_fixed(
    kind: Kind,
    values: Mapping[str, Any],
    *,
    besides: frozenset[str] = frozenset(),
    also: frozenset[str] = frozenset(),
) -> None:
    """Refuse values for columns that no caller changes.

    Args:
        kind: of the row.
        values: that a caller gives.
        besides: fixed columns that may be given here.
        also: columns that may not, though they are not fixed.

    Raises:
        StoreUsageError: one of them may not be given.
    """
    if kind.immutable:
        raise StoreUsageError(f"A {kind.name} never changes once it is written.")
    refused = values.keys() & (kind.fixed | also) - besides
    if refused:
        raise StoreUsageError(
            f"The columns {', '.join(sorted(refused))} of a {kind.name} cannot be set here: "
            "they say what it is, or are written by transitions and claims."
        )
