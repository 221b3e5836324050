"""What the rules of `state.triggers` are made of: words of SQL, and rules that any table may have.

`state.trigger_sql` has the spelling of each database.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import Column, Table

from state.entities import Kind
from state.machines import StateMachine

AUDIT = "state_transitions"
LINKS = ("workstream_dependencies", "task_dependencies", "task_gates")
"""Tables whose rows join two others."""

APPEND_ONLY = ("phases", "patches", AUDIT, "audit_checkpoints", *LINKS)
"""Tables whose rows never change and never go."""

ALSO_UNIQUE: dict[str, tuple[str, ...]] = {
    AUDIT: ("event_id",),
    "audit_checkpoints": ("hash",),
    "task_attempts": ("task_id", "number"),
    "landing_leases": ("repository", "branch"),
    "compensation_actions": ("plan_id", "position"),
}
"""What identifies a row besides its key: INSERT OR REPLACE would put it aside unseen."""


class Spelling(Protocol):
    """How one database says what SQL has several words for."""

    @property
    def hidden_key(self) -> str | None:
        """A second key that each row has besides the one of its table, if there is such a thing."""
        ...

    @property
    def sessions_drop_references(self) -> bool:
        """Whether any session may switch the foreign keys off for itself."""
        ...

    @property
    def judges_commits(self) -> bool:
        """Whether a rule can be asked at the end of a transaction."""
        ...

    def given_number(self, table: str, column: str) -> str:
        """A new row brings its own number, where the database should give it."""
        ...

    def differs(self, one: str, other: str, column: Column[object] | None = None) -> str:
        """Two values differ; null equals null. `column` tells of which type they are."""
        ...

    def audit_row(self, entity_type: str, key: str, *conditions: str) -> str:
        """This transaction has written an audit row `a` just now, which meets the conditions.

        No audit row of that entity came after it.
        """
        ...

    def no_time(self, value: str) -> str:
        """A text is not a time as they are stored."""
        ...

    def no_object(self, value: str) -> str:
        """A JSON column does not hold an object."""
        ...

    def not_among(self, value: str, listed: str) -> str:
        """A number is not in a JSON list."""
        ...

    def binary(self, values: Sequence[str]) -> str | None:
        """One of these texts is none, but bytes; None where a column refuses that by itself."""
        ...


@dataclass(frozen=True, slots=True)
class Rule:
    """What is refused: `broken` is the SQL condition, over `NEW` and `OLD`."""

    code: str
    message: str
    broken: str


@dataclass(frozen=True, slots=True)
class Watch:
    """The rules for one kind of write to one table.

    `when` narrows it to some of the rows; `at_commit` asks at the end of the transaction.
    """

    name: str
    table: str
    event: str
    rules: tuple[Rule, ...]
    when: str | None = None
    moment: str = "BEFORE"
    at_commit: bool = False


def new_row(table: Table, spelling: Spelling, *more: Rule) -> Watch:
    """A new row of a table without states; `more` are rules of its own."""
    return Watch(f"{table.name}_on_insert", table.name, "INSERT", (taken(table, spelling), *more))


def taken(table: Table, spelling: Spelling, keys: Sequence[str] | None = None) -> Rule:
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


def has_parents(table: Table, columns: Sequence[str], spelling: Spelling) -> tuple[Rule, ...]:
    """What a row refers to is there, also where foreign keys are off."""
    if not columns or not spelling.sessions_drop_references:
        return ()
    missing = [
        f"NEW.{name} IS NOT NULL AND NOT EXISTS (SELECT 1 FROM {parent.table.name} p"
        f" WHERE p.{parent.name} = NEW.{name})"
        for name in columns
        for parent in [next(iter(table.c[name].foreign_keys)).column]
    ]
    names = ", ".join(columns)
    return (Rule("no_parent", f"what these columns name must be there: {names}", _any(missing)),)


def numbered(table: str, hidden_key: str) -> Watch:
    """Only SQLite itself gives the number of a row.

    Before the insert it shows -1 for a number that it has yet to give. A row that was -1 in earnest
    would make every later insert look like its replacement.
    """
    rule = Rule("number", "SQLite itself numbers the rows, from 1", f"NEW.{hidden_key} < 1")
    return Watch(f"{table}_after_insert", table, "INSERT", (rule,), moment="AFTER")


def fixed(kind: Kind, spelling: Spelling) -> Rule:
    """What a row is, is given when it is made (decisions C)."""
    columns = [column for column in kind.table.c if column.key in kind.identity]
    names = ", ".join(column.key for column in columns)
    broken = any_differs(columns, spelling)
    if (hidden := spelling.hidden_key) is not None:
        broken += f" OR {spelling.differs(f'NEW.{hidden}', f'OLD.{hidden}')}"
    return Rule("fixed", f"these columns never change: {names}", broken)


def never(table: str, event: str) -> Watch:
    """A kind of write that a table does not know."""
    done = {"UPDATE": "changed", "DELETE": "deleted"}[event]
    rule = Rule("append_only", f"rows of {table} are never {done}", "1 = 1")
    return Watch(f"{table}_on_{event.lower()}", table, event, (rule,))


def any_differs(columns: Sequence[Column[object]], spelling: Spelling) -> str:
    """One of these columns is another than it was."""
    return _any([spelling.differs(f"NEW.{c.key}", f"OLD.{c.key}", c) for c in columns])


def _any(conditions: Sequence[str]) -> str:
    return f"({' OR '.join(conditions)})"


def listed(values: Sequence[str]) -> str:
    """SQL literals; the values are names of ours."""
    return ", ".join(f"'{value}'" for value in values)


def steps(machine: StateMachine) -> list[str]:
    """Its changes of state, as `source>target`."""
    return [f"{one.source}>{one.target}" for one in machine.all_transitions()]
