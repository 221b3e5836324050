"""The rules of the machines' tables: how an entity begins, what changes with its state, its end."""

from collections.abc import Iterator, Sequence

from sqlalchemy import Column

from state.entities import Kind
from state.facts import FIRST_ONLY, MANAGED, REASON_COLUMNS, STAMPS
from state.machines import NONE_STATE, StateMachine
from state.trigger_parts import (
    Rule,
    Spelling,
    Watch,
    any_differs,
    fixed,
    has_parents,
    listed,
    never,
    steps,
    taken,
)

CHANGES_AFTER_THE_END = frozenset({"metadata", "audit_head", "updated_at"})
"""Columns of an ended entity that may still change, with an audit row."""

LANDED = (
    "commit_sha",
    "commit_date",
    "committed_at",
    "base_commit",
    "candidate_commit",
    "candidate_tree",
)
"""Columns of a ledger entry that tell of its commit."""

PARENTS = {"workstream": ("run_id",), "task": ("workstream_id",)}
"""Machine -> columns without whose row an entity is nowhere: no list and no outcome has it."""


def of_machine(kind: Kind, machine: StateMachine, spelling: Spelling) -> Iterator[Watch]:
    """The watches on one machine's table."""
    table = machine.table
    yield Watch(f"{table}_on_insert", table, "INSERT", tuple(_on_insert(kind, machine, spelling)))
    yield Watch(f"{table}_on_update", table, "UPDATE", tuple(_on_update(kind, machine, spelling)))
    yield never(table, "DELETE")


def _on_insert(kind: Kind, machine: StateMachine, spelling: Spelling) -> Iterator[Rule]:
    what = _words(machine)
    born = spelling.audit_row(
        machine.name,
        f"NEW.{machine.key}",
        f"a.from_state = '{NONE_STATE}'",
        "a.to_state = NEW.state",
        "a.hash = NEW.audit_head",
        "a.transitioned_at = NEW.updated_at",
    )
    begins = f"NEW.state <> '{machine.initial}' OR NEW.version <> 1"
    yield taken(kind.table, spelling)
    yield Rule("not_initial", f"a {what} begins as {machine.initial}, version 1", begins)
    yield from has_parents(kind.table, PARENTS.get(machine.name, ()), spelling)
    yield Rule("no_audit_row", f"a new {what} needs its audit row first", f"NOT {born}")
    if machine.name == "task":
        yield Rule("retry_count", "retries are counted from 0", "NEW.retry_count < 0")


def _on_update(kind: Kind, machine: StateMachine, spelling: Spelling) -> Iterator[Rule]:
    what = _words(machine)
    moved, chained = (spelling.differs(f"NEW.{n}", f"OLD.{n}") for n in ("state", "audit_head"))
    told = spelling.audit_row(
        machine.name,
        f"OLD.{machine.key}",
        "a.from_state = OLD.state",
        "a.to_state = NEW.state",
        "a.entity_version = NEW.version",
        "a.hash = NEW.audit_head",
        "a.transitioned_at = NEW.updated_at",
        f"NOT {spelling.differs('a.prev_hash', 'OLD.audit_head')}",
    )
    yield fixed(kind, spelling)
    yield from _ended(kind, machine, moved, chained, spelling)
    yield from _landed(kind, moved, spelling)
    yield Rule(
        "illegal_transition",
        f"the machine of a {what} has no such change of state",
        f"{moved} AND OLD.state || '>' || NEW.state NOT IN ({listed(steps(machine))})",
    )
    yield Rule(
        "version",
        "the version grows by one with each change of state, and not otherwise",
        f"NEW.version <> OLD.version + CASE WHEN {moved} THEN 1 ELSE 0 END",
    )
    yield Rule(
        "no_audit_row",
        f"a {what} changes its state with an audit row of the same transaction only",
        f"({moved} OR {chained}) AND NOT {told}",
    )
    yield from _with_state(kind, machine, moved, spelling)
    yield _times(kind, machine, moved, chained, spelling)
    yield from _reasons(kind, moved, spelling)
    if machine.name == "task":
        counted = f"{spelling.differs('NEW.retry_count', 'OLD.retry_count')}"
        negative = f"NEW.retry_count < 0 AND {counted}"
        yield Rule("retry_count", "retries are counted from 0", negative)
    if machine.name == "test_gate":
        unexpected = spelling.not_among("NEW.exit_code", "NEW.expected_exit_codes")
        yield Rule(
            "exit_code",
            "a gate has passed with an expected exit code only",
            f"NEW.state = 'PASSED' AND {moved} AND {unexpected}",
        )


def _ended(
    kind: Kind, machine: StateMachine, moved: str, chained: str, spelling: Spelling
) -> Iterator[Rule]:
    """An ended row stays as it is, but for what an audit row tells of."""
    what = _words(machine)
    ended = f"OLD.state IN ({listed(sorted(machine.terminal))})" if machine.terminal else "1 = 0"
    about = any_differs([kind.table.c["metadata"], kind.table.c["updated_at"]], spelling)
    kept = any_differs(_kept(kind), spelling)
    yield Rule("terminal", f"this {what} has ended", f"{ended} AND NOT {moved} AND {kept}")
    yield Rule(
        "terminal",
        f"metadata and updated_at of an ended {what} change with an audit row only",
        f"{ended} AND {about} AND NOT {chained}",
    )


def _landed(kind: Kind, moved: str, spelling: Spelling) -> Iterator[Rule]:
    """What is on the target stays told as it is, though it may be rolled back (design 6)."""
    if kind.name == "patch_ledger":
        commit = any_differs([kind.table.c[name] for name in LANDED], spelling)
        kept = any_differs(_kept(kind), spelling)
        yield Rule(
            "fixed",
            "a committed patch changes by its rollback only, and its commit never",
            f"OLD.state = 'committed' AND ({commit} OR NOT {moved} AND {kept})",
        )


def _kept(kind: Kind) -> Sequence[Column[object]]:
    return [c for c in kind.table.c if c.key not in CHANGES_AFTER_THE_END]


def _with_state(
    kind: Kind, machine: StateMachine, moved: str, spelling: Spelling
) -> Iterator[Rule]:
    """Who runs it, under which token, and since when: what a change of state alone says."""
    names = sorted(MANAGED.get(machine.name, frozenset[str]()) | set(_stamps(machine)))
    if names:
        changed = any_differs([kind.table.c[name] for name in names], spelling)
        yield Rule(
            "with_state",
            f"these columns change with the state only: {', '.join(names)}",
            f"NOT {moved} AND {changed}",
        )
    for state, name in STAMPS.get(machine.name, {}).items():
        if name in FIRST_ONLY:
            other = spelling.differs(f"NEW.{name}", f"OLD.{name}")
            yield Rule(
                "start",
                f"{name} is there from the first {state} on, and stays",
                f"{moved} AND (NEW.state = '{state}' AND NEW.{name} IS NULL"
                f" OR OLD.{name} IS NOT NULL AND {other})",
            )


def _times(kind: Kind, machine: StateMachine, moved: str, chained: str, spelling: Spelling) -> Rule:
    """Whatever is no time, or lies before it, would be the time of everything that follows.

    With an audit row `updated_at` is the row's time, which has been looked at; what a change of
    state stamps is mostly that same time.
    """
    column = "NEW.updated_at"
    other = spelling.differs(column, "OLD.updated_at")
    stamped = [
        f"NEW.{name} <> NEW.updated_at AND {spelling.differs(f'NEW.{name}', f'OLD.{name}')}"
        f" AND {spelling.no_time(f'NEW.{name}')}"
        for name in _stamps(machine)
    ]
    return Rule(
        "time",
        "times are YYYY-MM-DDTHH:MM:SS.ffffffZ, and updated_at never goes back",
        f"{column} < OLD.updated_at AND NOT {spelling.no_time('OLD.updated_at')}"
        f" OR NOT {chained} AND {other} AND {spelling.no_time(column)}"
        f" OR {moved} AND ({' OR '.join(stamped)})",
    )


def _reasons(kind: Kind, moved: str, spelling: Spelling) -> Iterator[Rule]:
    """Why and when a patch was quarantined, rolled back or dropped is said once: when it is."""
    own = {state: name for (machine, state), name in REASON_COLUMNS.items() if machine == kind.name}
    if not own:
        return
    columns = kind.table.c
    changed = [
        f"{any_differs([columns[name], columns[STAMPS[kind.name][state]]], spelling)}"
        f" AND NOT (NEW.state = '{state}' AND {moved})"
        for state, name in own.items()
    ]
    changed.append(f"OLD.state = 'quarantined' AND {any_differs([columns['reasons']], spelling)}")
    yield Rule(
        "reason",
        "a reason and its time are written with the state that they are of, and stay",
        " OR ".join(changed),
    )


def _stamps(machine: StateMachine) -> list[str]:
    """The columns of its times, each once."""
    return list(dict.fromkeys(STAMPS.get(machine.name, {}).values()))


def _words(machine: StateMachine) -> str:
    return machine.name.replace("_", " ")
