"""The rules of the audit table: each row goes on from its entity as it is, by one step."""

from collections.abc import Iterator

from sqlalchemy import Text

from state.entities import KINDS, Kind
from state.facts import NEEDS_OPERATOR
from state.machines import NONE_STATE, StateMachine
from state.schema import METADATA
from state.trigger_parts import AUDIT, Rule, Spelling, Watch, listed, steps, taken


def of_audit(spelling: Spelling) -> Iterator[Watch]:
    """Every watch on new audit rows."""
    yield Watch(f"{AUDIT}_on_insert", AUDIT, "INSERT", tuple(_any_row(spelling)))
    for kind in KINDS.values():
        if kind.machine is not None:
            yield _of(kind, kind.machine, spelling)
            if spelling.judges_commits:
                yield _kept(kind.machine)


def _any_row(spelling: Spelling) -> Iterator[Rule]:
    table = METADATA.tables[AUDIT]
    names = [name for name, kind in KINDS.items() if kind.machine is not None]
    # A number out of order would put an older row last in the history of an entity.
    number = spelling.given_number(AUDIT, "transition_id")
    yield Rule("number", "the database numbers the audit rows", number)
    yield taken(table, spelling, keys=("event_id",))
    yield Rule("entity_type", "no such entity type", f"NEW.entity_type NOT IN ({listed(names)})")
    no_hash = "NEW.hash IS NULL OR LENGTH(NEW.hash) <> 64"
    yield Rule("no_hash", "an audit row carries its hash", no_hash)
    at = "NEW.transitioned_at"
    # Without a time, the column itself refuses it.
    no_time = f"{at} IS NOT NULL AND {spelling.no_time(at)}"
    yield Rule("time", "an audit row has its time as YYYY-MM-DDTHH:MM:SS.ffffffZ", no_time)
    no_object = spelling.no_object("NEW.metadata")
    yield Rule("metadata", "the metadata of an audit row is a JSON object", no_object)
    texts = [f'NEW."{column.name}"' for column in table.c if isinstance(column.type, Text)]
    if (binary := spelling.binary(texts)) is not None:
        yield Rule("binary", "an audit row has no bytes where it should have text", binary)


def _of(kind: Kind, machine: StateMachine, spelling: Spelling) -> Watch:
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
                f" NEW.to_state NOT IN ({listed(steps(machine))})",
            ),
            Rule(
                "audit_mismatch",
                f"the audit row does not continue from the {what} as it is",
                f"NOT {created} AND NOT EXISTS ({fits})",
            ),
            Rule("twice", f"another audit row waits for this change of the {what}", waiting),
            *_by_operator(machine),
        ),
        when=f"NEW.entity_type = '{machine.name}'",
    )


def _by_operator(machine: StateMachine) -> Iterator[Rule]:
    """What only a named person may do (decisions P2)."""
    manual = [
        f"{source}>{target}"
        for name, source, target in sorted(NEEDS_OPERATOR)
        if name == machine.name
    ]
    if manual:
        yield Rule(
            "operator",
            "this change of state needs a named operator",
            f"NEW.from_state || '>' || NEW.to_state IN ({listed(manual)})"
            " AND TRIM(COALESCE(NEW.operator, '')) = ''",
        )


def _kept(machine: StateMachine) -> Watch:
    """An audit row that is kept alone would end the chain of its entity: nothing follows it."""
    what = machine.name.replace("_", " ")
    told = (
        f"SELECT 1 FROM {machine.table} e"
        f" WHERE e.{machine.key} = NEW.entity_id AND e.audit_head = NEW.hash"
    )
    followed = (
        f"SELECT 1 FROM {AUDIT} n WHERE n.entity_type = '{machine.name}'"
        " AND n.entity_id = NEW.entity_id AND n.transition_id > NEW.transition_id"
        " AND n.prev_hash = NEW.hash"
    )
    return Watch(
        f"{AUDIT}_kept_{machine.name}",
        AUDIT,
        "INSERT",
        (
            Rule(
                "alone",
                f"an audit row is kept with the change of the {what} that it tells of only",
                f"NOT EXISTS ({told}) AND NOT EXISTS ({followed})",
            ),
        ),
        when=f"NEW.entity_type = '{machine.name}'",
        moment="AFTER",
        at_commit=True,
    )
