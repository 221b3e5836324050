"""The rules as triggers inside the database, whoever writes to it (design section 2, decisions C).

They are made from the same data as the store's own checks. An audit row comes first and must fit
the entity as it stands; the change that follows must be exactly the one that the audit row tells
of, in the same transaction. So no state changes without its audit row, none against the machine,
and what was written down stays. `state.trigger_sql` spells the rules for each database.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import Column, Table

from state.entities import KINDS, Kind
from state.machines import NONE_STATE, StateMachine
from state.schema import METADATA

AUDIT = "state_transitions"
APPEND_ONLY = ("phases", "patches", AUDIT, "audit_checkpoints")
"""Tables whose rows never change and never go."""

ALSO_UNIQUE: dict[str, tuple[str, ...]] = {
    AUDIT: ("event_id",),
    "audit_checkpoints": ("hash",),
    "task_attempts": ("task_id", "number"),
}
"""What identifies a row besides its key: INSERT OR REPLACE would put it aside unseen."""

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


class Spelling(Protocol):
    """How one database says what SQL has several words for."""

    @property
    def hidden_key(self) -> str | None:
        """A second key that each row has besides the one of its table, if there is such a thing."""
        ...

    def given_number(self, table: str, column: str) -> str:
        """A new row brings its own number, where the database should give it."""
        ...

    def differs(self, one: str, other: str, column: Column[object] | None = None) -> str:
        """Two values differ; null equals null. `column` tells of which type they are."""
        ...

    def audit_row(self, entity_type: str, key: str, *conditions: str) -> str:
        """This transaction has written an audit row `a` just now, which meets the conditions."""
        ...


@dataclass(frozen=True, slots=True)
class Rule:
    """What is refused: `broken` is the SQL condition, over `NEW` and `OLD`."""

    code: str
    message: str
    broken: str


@dataclass(frozen=True, slots=True)
class Watch:
    """The rules for one kind of write to one table; `when` narrows it to some of the rows."""

    name: str
    table: str
    event: str
    rules: tuple[Rule, ...]
    when: str | None = None
    moment: str = "BEFORE"


def watches(spelling: Spelling) -> Iterator[Watch]:
    """Every watch on every table."""
    for kind in KINDS.values():
        if kind.machine is not None:
            yield from _of_machine(kind, kind.machine, spelling)
    yield _new_row(KINDS["task_attempt"].table, spelling)
    yield _fixed(KINDS["task_attempt"], spelling)
    yield _never(KINDS["task_attempt"].table.name, "DELETE")
    for name in APPEND_ONLY:
        if name != AUDIT:
            yield _new_row(METADATA.tables[name], spelling)
        yield _never(name, "UPDATE")
        yield _never(name, "DELETE")
    yield from _of_audit(spelling)
    if spelling.hidden_key is not None:
        machines = [kind.table.name for kind in KINDS.values() if kind.machine is not None]
        for name in (*machines, "task_attempts", *APPEND_ONLY):
            yield _numbered(name, spelling.hidden_key)


# An entity


def _of_machine(kind: Kind, machine: StateMachine, spelling: Spelling) -> Iterator[Watch]:
    table, key = machine.table, machine.key
    born = spelling.audit_row(
        machine.name,
        f"NEW.{key}",
        f"a.from_state = '{NONE_STATE}'",
        "a.to_state = NEW.state",
        "a.hash = NEW.audit_head",
    )
    begins = f"NEW.state <> '{machine.initial}' OR NEW.version <> 1"
    what = machine.name.replace("_", " ")
    yield Watch(
        f"{table}_on_insert",
        table,
        "INSERT",
        (
            _taken(kind.table, spelling),
            Rule("not_initial", f"a {what} begins as {machine.initial}, version 1", begins),
            Rule("no_audit_row", f"a new {what} needs its audit row first", f"NOT {born}"),
        ),
    )
    yield Watch(f"{table}_on_update", table, "UPDATE", _on_update(kind, machine, spelling))
    yield _never(table, "DELETE")


def _on_update(kind: Kind, machine: StateMachine, spelling: Spelling) -> tuple[Rule, ...]:
    what = machine.name.replace("_", " ")
    moved, chained = (spelling.differs(f"NEW.{n}", f"OLD.{n}") for n in ("state", "audit_head"))
    told = spelling.audit_row(
        machine.name,
        f"OLD.{machine.key}",
        "a.from_state = OLD.state",
        "a.to_state = NEW.state",
        "a.entity_version = NEW.version",
        "a.hash = NEW.audit_head",
        f"NOT {spelling.differs('a.prev_hash', 'OLD.audit_head')}",
    )
    ended = f"OLD.state IN ({_list(sorted(machine.terminal))})" if machine.terminal else "1 = 0"
    kept = [c for c in kind.table.c if c.key not in CHANGES_AFTER_THE_END]
    about = _any_differs([kind.table.c["metadata"], kind.table.c["updated_at"]], spelling)
    return (
        _fixed_rule(kind, spelling),
        Rule(
            "terminal",
            f"this {what} has ended",
            f"{ended} AND NOT {moved} AND {_any_differs(kept, spelling)}",
        ),
        Rule(
            "terminal",
            f"metadata and updated_at of an ended {what} change with an audit row only",
            f"{ended} AND {about} AND NOT {chained}",
        ),
        *_landed(kind, moved, kept, spelling),
        Rule(
            "illegal_transition",
            f"the machine of a {what} has no such change of state",
            f"{moved} AND OLD.state || '>' || NEW.state NOT IN ({_list(_steps(machine))})",
        ),
        Rule(
            "version",
            "the version grows by one with each change of state, and not otherwise",
            f"NEW.version <> OLD.version + CASE WHEN {moved} THEN 1 ELSE 0 END",
        ),
        Rule(
            "no_audit_row",
            f"a {what} changes its state with an audit row of the same transaction only",
            f"({moved} OR {chained}) AND NOT {told}",
        ),
    )


def _landed(
    kind: Kind, moved: str, kept: Sequence[Column[object]], spelling: Spelling
) -> Iterator[Rule]:
    """What is on the target stays told as it is, though it may be rolled back (design 6)."""
    if kind.name == "patch_ledger":
        commit = [kind.table.c[name] for name in LANDED]
        yield Rule(
            "fixed",
            "a committed patch changes by its rollback only, and its commit never",
            f"OLD.state = 'committed' AND ({_any_differs(commit, spelling)}"
            f" OR NOT {moved} AND {_any_differs(kept, spelling)})",
        )


def _steps(machine: StateMachine) -> list[str]:
    return [f"{one.source}>{one.target}" for one in machine.all_transitions()]


# The audit table


def _of_audit(spelling: Spelling) -> Iterator[Watch]:
    table = METADATA.tables[AUDIT]
    names = [name for name, kind in KINDS.items() if kind.machine is not None]
    yield Watch(
        f"{AUDIT}_on_insert",
        AUDIT,
        "INSERT",
        (
            # A number out of order would put an older row last in the history of an entity.
            Rule(
                "number",
                "the database numbers the audit rows",
                spelling.given_number(AUDIT, "transition_id"),
            ),
            _taken(table, spelling, keys=("event_id",)),
            Rule("entity_type", "no such entity type", f"NEW.entity_type NOT IN ({_list(names)})"),
            Rule(
                "no_hash",
                "an audit row carries its hash",
                "NEW.hash IS NULL OR LENGTH(NEW.hash) <> 64",
            ),
        ),
    )
    for kind in KINDS.values():
        if kind.machine is not None:
            yield _audit_of(kind, kind.machine, spelling)


def _audit_of(kind: Kind, machine: StateMachine, spelling: Spelling) -> Watch:
    what = machine.name.replace("_", " ")
    row = f"SELECT 1 FROM {machine.table} e WHERE e.{machine.key} = NEW.entity_id"
    created = f"NEW.from_state = '{NONE_STATE}'"
    grown = "CASE WHEN NEW.from_state = NEW.to_state THEN 0 ELSE 1 END"
    fits = (
        f"{row} AND e.state = NEW.from_state AND e.version + {grown} = NEW.entity_version"
        f" AND NOT {spelling.differs('e.audit_head', 'NEW.prev_hash')}"
    )
    waiting = spelling.audit_row(
        machine.name, "NEW.entity_id", f"NOT {spelling.differs('a.prev_hash', 'NEW.prev_hash')}"
    )
    return Watch(
        f"{AUDIT}_of_{machine.name}",
        AUDIT,
        "INSERT",
        (
            Rule("exists", f"there is such a {what} already", f"{created} AND EXISTS ({row})"),
            Rule(
                "not_initial",
                f"a {what} begins as {machine.initial}, version 1",
                f"{created} AND (NEW.to_state <> '{machine.initial}' OR NEW.entity_version <> 1"
                " OR NEW.prev_hash IS NOT NULL)",
            ),
            Rule(
                "illegal_transition",
                f"the machine of a {what} has no such change of state",
                f"NOT {created} AND NEW.from_state <> NEW.to_state AND NEW.from_state || '>' ||"
                f" NEW.to_state NOT IN ({_list(_steps(machine))})",
            ),
            Rule(
                "audit_mismatch",
                f"the audit row does not continue from the {what} as it is",
                f"NOT {created} AND NOT EXISTS ({fits})",
            ),
            Rule("twice", f"another audit row waits for this change of the {what}", waiting),
        ),
        when=f"NEW.entity_type = '{machine.name}'",
    )


# Any table


def _new_row(table: Table, spelling: Spelling) -> Watch:
    rules = (_taken(table, spelling),)
    return Watch(f"{table.name}_on_insert", table.name, "INSERT", rules)


def _taken(table: Table, spelling: Spelling, keys: Sequence[str] | None = None) -> Rule:
    """A row that is there is never replaced."""
    choices = [tuple(column.key for column in table.primary_key), ALSO_UNIQUE.get(table.name, ())]
    if spelling.hidden_key is not None:
        choices.append((spelling.hidden_key,))
    found = [
        f"EXISTS (SELECT 1 FROM {table.name} WHERE "
        + " AND ".join(f"{name} = NEW.{name}" for name in names)
        + ")"
        for names in ([tuple(keys)] if keys else choices)
        if names
    ]
    return Rule("exists", f"there is such a row in {table.name} already", " OR ".join(found))


def _numbered(table: str, hidden_key: str) -> Watch:
    """Only SQLite itself gives the number of a row.

    Before the insert it shows -1 for a number that it has yet to give. A row that was -1 in earnest
    would make every later insert look like its replacement.
    """
    rule = Rule("number", "SQLite itself numbers the rows, from 1", f"NEW.{hidden_key} < 1")
    return Watch(f"{table}_after_insert", table, "INSERT", (rule,), moment="AFTER")


def _fixed(kind: Kind, spelling: Spelling) -> Watch:
    rules = (_fixed_rule(kind, spelling),)
    return Watch(f"{kind.table.name}_on_update", kind.table.name, "UPDATE", rules)


def _fixed_rule(kind: Kind, spelling: Spelling) -> Rule:
    """What a row is, is given when it is made (decisions C)."""
    columns = [column for column in kind.table.c if column.key in kind.identity]
    names = ", ".join(column.key for column in columns)
    broken = _any_differs(columns, spelling)
    if (hidden := spelling.hidden_key) is not None:
        broken += f" OR {spelling.differs(f'NEW.{hidden}', f'OLD.{hidden}')}"
    return Rule("fixed", f"these columns never change: {names}", broken)


def _never(table: str, event: str) -> Watch:
    done = {"UPDATE": "changed", "DELETE": "deleted"}[event]
    rule = Rule("append_only", f"rows of {table} are never {done}", "1 = 1")
    return Watch(f"{table}_on_{event.lower()}", table, event, (rule,))


def _any_differs(columns: Sequence[Column[object]], spelling: Spelling) -> str:
    pairs = [spelling.differs(f"NEW.{c.key}", f"OLD.{c.key}", c) for c in columns]
    return f"({' OR '.join(pairs)})"


def _list(values: Sequence[str]) -> str:
    """SQL literals; the values are names of ours."""
    return ", ".join(f"'{value}'" for value in values)
