"""A person with an SQL prompt: raw connections past the store, and how sound they left things."""

import itertools
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from state.canonical import canonical_json
from state.chain import row_hash
from state.entities import KINDS
from state.facts import FIRST_ONLY, NEEDS_OPERATOR, STAMPS
from state.machines import MACHINES, NONE_STATE
from state.schema import METADATA, state_transitions
from tests.state.world import NEEDS, World

REFUSED = (sqlite3.IntegrityError, psycopg.IntegrityError)
"""What the drivers raise when a rule of the database is broken."""


LATER = "2030-01-01T00:00:00.000000Z"
TABLES = {name: (one.table, one.key) for name, one in MACHINES.items()}
_events = itertools.count(1)


@contextmanager
def refused(*codes: str) -> Iterator[None]:
    """A trigger refuses what is done in the block, with one of these codes, and says why."""
    with pytest.raises(REFUSED, match=rf"patchline:({'|'.join(codes)}): [a-zA-Z]"):
        yield


class Raw:
    """One connection of a driver; `?` stands for a value on both backends.

    Each statement is its own transaction unless `BEGIN` was run. SQLite's foreign keys are off, and
    so are its recursive triggers unless asked for.
    """

    def __init__(self, url: str, *, recursive: bool = False) -> None:
        self.sqlite = url.startswith("sqlite")
        if self.sqlite:
            path = str(make_url(url).database)
            self.driver: Any = sqlite3.connect(
                path, isolation_level=None, timeout=5, check_same_thread=False
            )
            self.driver.execute("PRAGMA foreign_keys = OFF")
            self.driver.execute(f"PRAGMA recursive_triggers = {'ON' if recursive else 'OFF'}")
        else:
            address = url.replace("postgresql+psycopg://", "postgresql://")
            self.driver = psycopg.connect(address, autocommit=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.driver.close()

    def run(self, sql: str, *values: Any) -> Any:
        """The cursor of a statement."""
        text = sql if self.sqlite else sql.replace("?", "%s")
        return self.driver.execute(text, values) if values else self.driver.execute(text)

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Every row of a query."""
        return [tuple(row) for row in self.run(sql, *values).fetchall()]

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """BEGIN and COMMIT around a block, ROLLBACK when it fails."""
        self.run("BEGIN")
        try:
            yield
            self.run("COMMIT")
        except BaseException:
            self.run("ROLLBACK")
            raise

    def row(self, entity_type: str, entity_id: str) -> dict[str, Any]:
        """All columns of an entity, as the database keeps them (JSON as text)."""
        kind = KINDS[entity_type]
        names = [self._as_text(column) for column in kind.table.c]
        query = f"SELECT {', '.join(names)} FROM {kind.table.name} WHERE {kind.key} = ?"
        ((values),) = self.rows(query, entity_id)
        return dict(zip(kind.table.c.keys(), values, strict=True))

    def _as_text(self, column: sa.Column[Any]) -> str:
        is_json = isinstance(column.type, sa.JSON) and not self.sqlite
        return f'"{column.name}"::text' if is_json else f'"{column.name}"'

    def insert(self, table: str, values: Mapping[str, Any], verb: str = "INSERT") -> None:
        """A row; `verb` may be `INSERT OR REPLACE` and the like."""
        names = ", ".join(f'"{name}"' for name in values)
        marks = ", ".join("?" * len(values))
        self.run(f"{verb} INTO {table} ({names}) VALUES ({marks})", *values.values())

    def audit(self, entity_type: str, entity_id: str, target: str, /, **other: Any) -> str:
        """Insert the audit row of that change of the entity as it is; gives its hash.

        Args:
            entity_type: of the entity.
            entity_id: its key.
            target: the state it will have.
            **other: columns that are to be different from what they should be.
        """
        return self.insert_audit(self.audit_values(entity_type, entity_id, target, **other))

    def insert_audit(self, values: Mapping[str, Any], verb: str = "INSERT") -> str:
        """Insert an audit row as it is given; gives its hash."""
        self.insert("state_transitions", values, verb)
        return values["hash"]

    def audit_values(
        self, entity_type: str, entity_id: str, target: str, /, **other: Any
    ) -> dict[str, Any]:
        """A well-formed audit row for the entity as it is, hash and all."""
        table, key = TABLES[entity_type]
        query = f"SELECT state, version, audit_head FROM {table} WHERE {key} = ?"
        found = self.rows(query, entity_id)
        state, version, head = found[0] if found else (NONE_STATE, 0, None)
        values: dict[str, Any] = dict.fromkeys(state_transitions.c.keys()[1:])
        values |= {
            "event_id": f"evt_raw_{next(_events):06d}",
            "entity_type": entity_type,
            "entity_id": entity_id,
            "entity_version": version + (target != state),
            "from_state": state,
            "to_state": target,
            "trigger": "by_hand",
            "severity": "info",
            "metadata": "{}",
            "transitioned_at": LATER,
            "prev_hash": head,
            "operator": "ann" if (entity_type, state, target) in NEEDS_OPERATOR else None,
            **other,
        }
        if "hash" not in other:
            values["hash"] = row_hash({**values, "metadata": {}}, values["metadata"])
        return values

    def change(self, entity_type: str, entity_id: str, **columns: Any) -> int:
        """Update columns of an entity; says how many rows there were."""
        table, key = TABLES[entity_type]
        sets = ", ".join(f'"{name}" = ?' for name in columns)
        return self.run(
            f"UPDATE {table} SET {sets} WHERE {key} = ?", *columns.values(), entity_id
        ).rowcount

    def step(self, entity_type: str, entity_id: str, target: str, head: str, **other: Any) -> int:
        """The change of state that belongs to an audit row with that hash."""
        row = self.row(entity_type, entity_id)
        columns = {
            **needed(entity_type, row, target),
            "state": target,
            "version": row["version"] + (target != row["state"]),
            "updated_at": LATER,
            "audit_head": head,
            **other,
        }
        return self.change(entity_type, entity_id, **columns)

    def move(self, entity_type: str, entity_id: str, target: str, **other: Any) -> int:
        """A change of state by hand, done as it must be: audit row, change, one transaction."""
        with self.transaction():
            head = self.audit(entity_type, entity_id, target)
            return self.step(entity_type, entity_id, target, head, **other)

    def new_like(self, entity_type: str, entity_id: str, new_id: str) -> dict[str, Any]:
        """The values of a new row, else like one that is there; without its audit head."""
        kind = KINDS[entity_type]
        own = {kind.key: new_id, "audit_head": None, "updated_at": LATER}
        values = {**self.row(entity_type, entity_id), **own}
        return {name: value for name, value in values.items() if value is not None}

    def without_triggers(self) -> None:
        """What the owner of a database may always do: switch its rules off."""
        if not self.sqlite:
            for table in METADATA.tables:
                self.run(f"ALTER TABLE {table} DISABLE TRIGGER USER")
            self.run("SET session_replication_role = replica")  # foreign keys
            return
        for (name,) in self.rows("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
            self.run(f'DROP TRIGGER "{name}"')


def needed(entity_type: str, row: Mapping[str, Any], target: str) -> dict[str, Any]:
    """Columns that the CHECKs want beside the state: its time, its reason, its worker."""
    given = {
        name: value
        for name, value in NEEDS.get((entity_type, target), {}).items()
        if name != "operator"
    }
    stamp = STAMPS.get(entity_type, {}).get(target)
    if stamp and not (stamp in FIRST_ONLY and row.get(stamp)):
        given[stamp] = LATER
    if entity_type == "task" and target != "running":
        given["worker_id"] = None
    return given


def assert_sound(world: World) -> None:
    """Each entity is what its last audit row says, and each history is one unbroken chain."""
    with world.store.reading() as connection:
        heads = {
            (name, key): tuple(head)
            for name in MACHINES
            for key, *head in connection.execute(_heads_of(name))
        }
        query = sa.select(state_transitions).order_by(state_transitions.c.transition_id)
        last: dict[tuple[str, str], tuple[str, int, str]] = {}
        for row in connection.execute(query).mappings():
            entity = (row["entity_type"], row["entity_id"])
            state, version, head = last.get(entity, (NONE_STATE, 0, None))
            grown = int(row["to_state"] != row["from_state"])
            before = (row["from_state"], row["entity_version"] - grown, row["prev_hash"])
            assert before == (state, version, head), f"{entity} does not go on from its last row"
            assert row["hash"] == row_hash(dict(row), canonical_json(row["metadata"]))
            last[entity] = (row["to_state"], row["entity_version"], row["hash"])
    assert last == heads


def _heads_of(name: str) -> sa.Select[Any]:
    """Asks for nothing else: to spell out all columns of a table takes longer than most tests."""
    table, key = TABLES[name]
    columns = METADATA.tables[table].c
    return sa.select(columns[key], columns.state, columns.version, columns.audit_head)
