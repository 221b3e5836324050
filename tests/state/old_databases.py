"""Databases as revision 0001 had them, with an entity in every state, and what they hold later."""

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command

from state.canonical import canonical_json
from state.chain import row_hash
from state.clock_and_ids import ManualClock, SequentialIds
from state.machines import MACHINES
from state.migrations.runner import configuration
from state.schema import METADATA, state_transitions
from state.store import StateStore
from tests.state.world import World

MACHINE_TABLES = [METADATA.tables[machine.table] for machine in MACHINES.values()]
NEWER_TABLES = {
    "audit_checkpoints",
    "landing_leases",
    "compensation_plans",
    "compensation_actions",
}
"""Tables that revision 0001 did not have."""
Rows = dict[str, list[dict[str, Any]]]


def at_revision(engine: sa.Engine, revision: str, *, versioned: bool = True) -> None:
    """Bring an empty database to a revision through Alembic alone."""
    with engine.begin() as connection:
        command.upgrade(configuration(connection), revision)
        if not versioned:
            connection.exec_driver_sql("DROP TABLE patchline_version")


def every_state(tmp_path: Path) -> Rows:
    """The rows of a store with an entity in every state of every machine, as revision 0001 had."""
    clock = ManualClock()
    url = f"sqlite:///{tmp_path / 'source.db'}"
    with StateStore.open(url, clock=clock, ids=SequentialIds()) as store:
        world = World(store, clock, tmp_path)
        for name, machine in MACHINES.items():
            for state in machine.states:
                world.make_in(name, state)
        store.record("run", world.run_id, "held", metadata={"why": "caf\u00e9", "n": 1.5})
        with store.reading() as connection:
            found = {
                table.name: [dict(row) for row in connection.execute(sa.select(table)).mappings()]
                for table in METADATA.sorted_tables
                if table.name not in NEWER_TABLES
            }
    for row in found["state_transitions"]:
        row.update(prev_hash=None, hash=None)
    for table in MACHINE_TABLES:
        for row in found[table.name]:
            del row["audit_head"]
    for row in found["patch_ledger_entries"]:
        del row["reverted_by"]
    return found


def fill(engine: sa.Engine, rows: Rows) -> None:
    with engine.begin() as connection:
        for table in METADATA.sorted_tables:
            if rows.get(table.name):
                connection.execute(table.insert(), rows[table.name])
        if engine.dialect.name == "postgresql":
            last = "SELECT setval('state_transitions_transition_id_seq', 10000)"
            connection.exec_driver_sql(last)


def contents(engine: sa.Engine, rows: Rows) -> Rows:
    """What the database holds in the columns that these rows have."""
    kept: Rows = {}
    with engine.connect() as connection:
        for name, expected in rows.items():
            table = METADATA.tables[name]
            columns = list(expected[0]) if expected else list(table.primary_key.c.keys())
            chosen = [table.c[one] for one in columns if one not in ("prev_hash", "hash")]
            query = sa.select(*chosen).order_by(*table.primary_key.c)
            kept[name] = [dict(row) for row in connection.execute(query).mappings()]
    return kept


def unhashed(rows: Rows) -> Rows:
    """The rows in the order of their keys, without the columns that the upgrade fills."""
    cut: Rows = {}
    for name, found in rows.items():
        keys = METADATA.tables[name].primary_key.c.keys()
        ordered = sorted(found, key=lambda row: tuple(row[key] for key in keys))
        drop = ("prev_hash", "hash")
        cut[name] = [{k: v for k, v in row.items() if k not in drop} for row in ordered]
    return cut


def assert_chained(engine: sa.Engine) -> int:
    """Every chain is whole and ends at the head its entity knows; says how many rows there are."""
    heads: dict[tuple[str, str], str | None] = {}
    with engine.connect() as connection:
        query = sa.select(state_transitions).order_by(state_transitions.c.transition_id)
        rows = connection.execute(query).mappings().all()
        for row in rows:
            entity = (row["entity_type"], row["entity_id"])
            assert row["prev_hash"] == heads.get(entity)
            assert row["hash"] == row_hash(row, canonical_json(row["metadata"]))
            heads[entity] = row["hash"]
        for name, machine in MACHINES.items():
            table = METADATA.tables[machine.table]
            for key, head in connection.execute(
                sa.select(table.c[machine.key], table.c.audit_head)
            ):
                assert head == heads[name, key]
    return len(rows)
