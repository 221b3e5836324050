"""The rules as triggers inside the database, whoever writes to it (design section 2, decisions C).

They are made from the same data as the store's own checks. An audit row comes first and must fit
the entity as it stands; the change that follows must be exactly the one that the audit row tells
of, in the same transaction. So no state changes without its audit row, none against the machine,
and what was written down stays. `state.trigger_sql` spells the rules for each database.
"""

from collections.abc import Iterator

from state.entities import KINDS
from state.schema import METADATA
from state.trigger_audit import of_audit
from state.trigger_entities import of_machine
from state.trigger_parts import (
    APPEND_ONLY,
    AUDIT,
    LINKS,
    Rule,
    Spelling,
    Watch,
    any_differs,
    fixed,
    has_parents,
    never,
    new_row,
    numbered,
)

KEPT_TABLES = (
    *(kind.table.name for kind in KINDS.values() if kind.machine is not None),
    KINDS["task_attempt"].table.name,
    "landing_leases",
    "compensation_plans",
    "compensation_actions",
    *APPEND_ONLY,
)
"""Tables that no row ever leaves: all."""


def watches(spelling: Spelling) -> Iterator[Watch]:
    """Every watch on every table."""
    for kind in KINDS.values():
        if kind.machine is not None:
            yield from of_machine(kind, kind.machine, spelling)
    yield from _of_attempts(spelling)
    yield from _of_leases(spelling)
    yield from _of_compensation(spelling)
    for name in APPEND_ONLY:
        table = METADATA.tables[name]
        if name in LINKS:
            yield new_row(table, spelling, *has_parents(table, _references(name), spelling))
        elif name != AUDIT:
            yield new_row(table, spelling)
        yield never(name, "UPDATE")
        yield never(name, "DELETE")
    yield from of_audit(spelling)
    if spelling.hidden_key is not None:
        for name in KEPT_TABLES:
            yield numbered(name, spelling.hidden_key)


def _references(table: str) -> list[str]:
    return [column.name for column in METADATA.tables[table].c if column.foreign_keys]


def _of_attempts(spelling: Spelling) -> Iterator[Watch]:
    """An attempt begins just after its task has, and ends just after; then it is history."""
    kind = KINDS["task_attempt"]
    table = kind.table.name
    its_task = "SELECT 1 FROM tasks t WHERE t.task_id = NEW.task_id AND t.token = NEW.attempt_id"
    running = (
        f"{its_task} AND t.state = 'running' AND t.worker_id = NEW.worker_id"
        " AND t.attempts = NEW.number"
    )
    yield new_row(
        kind.table,
        spelling,
        Rule(
            "no_task",
            "an attempt is that of a running task, which has its id as the token",
            f"NOT EXISTS ({running})",
        ),
    )
    ends = "OLD.ended_at IS NULL AND NEW.ended_at IS NOT NULL"
    yield Watch(
        f"{table}_on_update",
        table,
        "UPDATE",
        (
            fixed(kind, spelling),
            Rule("ended", "this attempt has ended", "OLD.ended_at IS NOT NULL"),
            Rule(
                "live",
                "an attempt ends when its task leaves running",
                f"{ends} AND (EXISTS ({its_task}) OR {spelling.no_time('NEW.ended_at')})",
            ),
        ),
    )
    yield never(table, "DELETE")


def _of_leases(spelling: Spelling) -> Iterator[Watch]:
    """A token that was given out is never given out again: who holds an old one is known by it."""
    table = METADATA.tables["landing_leases"]
    yield new_row(table, spelling)
    yield Watch(
        f"{table.name}_on_update",
        table.name,
        "UPDATE",
        (
            Rule(
                "fixed",
                "a lease stays that of its branch",
                any_differs([table.c[n] for n in ("lease_id", "repository", "branch")], spelling),
            ),
            Rule("token", "the tokens of a lease only grow", "NEW.token < OLD.token"),
        ),
    )
    yield never(table.name, "DELETE")


def _of_compensation(spelling: Spelling) -> Iterator[Watch]:
    """What was planned stays as it was; what has ended is history."""
    for name, end in (("compensation_plan", "completed_at"), ("compensation_action", "ended_at")):
        kind = KINDS[name]
        table = kind.table
        parents = has_parents(table, _references(table.name), spelling)
        yield new_row(table, spelling, *parents)
        yield Watch(
            f"{table.name}_on_update",
            table.name,
            "UPDATE",
            (
                fixed(kind, spelling),
                Rule("ended", f"this {name.replace('_', ' ')} has ended", f"OLD.{end} IS NOT NULL"),
            ),
        )
        yield never(table.name, "DELETE")
