"""`docs/STATE_MACHINES.md`: diagrams and tables of the eight machines."""

from collections.abc import Iterator, Sequence

from state.facts import MAX_APPLIES
from state.handbook.effects import Effects, effects_of, needs_of
from state.handbook.machine_words import ABOUT, GUARDS, WRITES
from state.handbook.markdown import GENERATED, code, codes, mermaid, page, table
from state.machines import MACHINES, MANUAL_TRIGGER, NONE_STATE, StateMachine, Transition

EXTENSION = "extension"
_HEADINGS = ("from", "to", "triggers", "severity", "extension", "needs", "writes")
_VERBS = ("stamps", "sets", "clears", "counts", "resets")


def machines_page() -> str:
    """The whole page."""
    blocks: list[Sequence[str]] = [[GENERATED], ["# State machines"], *_intro()]
    for machine in MACHINES.values():
        blocks += _chapter(machine)
    return page(blocks)


def _intro() -> list[list[str]]:
    steps = [step for machine in MACHINES.values() for step in machine.all_transitions()]
    extra = sum(step.extension for step in steps)
    states = sum(len(machine.states) for machine in MACHINES.values())
    overview = table(
        ("machine", "table", "states", "transitions", "extensions"),
        [
            (
                f"[{machine.name}](#{machine.name})",
                code(machine.table),
                str(len(machine.states)),
                str(sum(not step.extension for step in machine.all_transitions())),
                str(sum(step.extension for step in machine.all_transitions())),
            )
            for machine in MACHINES.values()
        ],
    )
    return [
        [
            f"{len(MACHINES)} machines, {states} states, {len(steps) - extra} transitions of the",
            f"specification and {extra} extensions. `patchline machines --json` prints the same",
            "data; [DATABASE_SCHEMA.md](DATABASE_SCHEMA.md) describes the tables, and",
            "[DIFFERENCES.md](DIFFERENCES.md) says where the specification was silent.",
        ],
        overview,
        ["## Reading the tables"],
        [
            "- *triggers*: the first is the one used when the caller names none. A change that an",
            f"  operator makes may carry {code(MANUAL_TRIGGER)} instead, and is at least a",
            "  warning.",
            f"- *{EXTENSION}*: not in the specification, and marked *({EXTENSION})* in the",
            "  diagrams. Its audit row says so in its metadata; a store opened with `strict=True`",
            "  refuses it.",
            "- *needs*: columns that the change must be given, or that the row has already, and",
            "  conditions. A missing one raises `GuardNotSatisfied`, which names it.",
            "- *writes*: what the store sets by itself in the same transaction, beside `state`,",
            "  `version`, `updated_at` and the reason. `started_at` keeps its first value.",
            "- A new row is in the initial state, and its audit row says that it comes from",
            f"  {code(NONE_STATE)}. Nothing leaves a terminal state, except where a table says so.",
        ],
    ]


def _chapter(machine: StateMachine) -> list[Sequence[str]]:
    ends = [state for state in machine.states if state in machine.terminal]
    return [
        [f"## {machine.name}"],
        [ABOUT[machine.name]],
        [
            f"- Table [{code(machine.table)}](DATABASE_SCHEMA.md#{machine.table}), "
            f"key {code(machine.key)}",
            f"- Initial: {code(machine.initial)}",
            f"- Terminal: {codes(ends) if ends else 'none'}",
        ],
        mermaid(_diagram(machine)),
        table(_HEADINGS, [_row(machine, step) for step in machine.all_transitions()]),
        *([note] if (note := _severity_note(machine)) else []),
    ]


def _diagram(machine: StateMachine) -> Iterator[str]:
    """The lines of a state diagram; every label stands on as many lines as it has triggers."""
    yield "stateDiagram-v2"
    yield f"    [*] --> {machine.initial}"
    for step in machine.all_transitions():
        label = "<br/>".join(step.triggers)
        mark = f"({EXTENSION})<br/>" if step.extension else ""
        yield f"    {step.source} --> {step.target}: {mark}{label}"
    ends = [state for state in machine.states if state in machine.terminal]
    for state in ends:
        yield f"    {state} --> [*]"
    if ends:
        yield "    classDef ended stroke-width:3px"
        yield f"    class {','.join(ends)} ended"


def _row(machine: StateMachine, step: Transition) -> tuple[str, ...]:
    return (
        code(step.source),
        code(step.target),
        codes(step.triggers),
        step.severity,
        EXTENSION if step.extension else "",
        _needs(machine, step),
        _writes(machine, step),
    )


def _needs(machine: StateMachine, step: Transition) -> str:
    guard = GUARDS.get((machine.name, step.source, step.target), "")
    names = codes(needs_of(machine, step))
    return "; ".join(part for part in (names, guard.format(max_applies=MAX_APPLIES)) if part)


def _writes(machine: StateMachine, step: Transition) -> str:
    """The effects of the first trigger, then what another trigger does besides."""
    own = effects_of(machine, step, step.trigger)
    parts = [*_described(own), *_extra(machine.name, step)]
    for trigger in step.triggers[1:]:
        more = _described(_beyond(effects_of(machine, step, trigger), own))
        parts += [f"{text} (by {code(trigger)})" for text in more]
    return "; ".join(parts)


def _described(effects: Effects) -> list[str]:
    found = ((verb, getattr(effects, verb)) for verb in _VERBS)
    return [f"{verb} {codes(names)}" for verb, names in found if names]


def _beyond(effects: Effects, known: Effects) -> Effects:
    """What the first has and the second lacks."""
    pairs = ((getattr(effects, verb), getattr(known, verb)) for verb in _VERBS)
    return Effects(*(tuple(name for name in names if name not in old) for names, old in pairs))


def _extra(machine: str, step: Transition) -> list[str]:
    return [
        text
        for (name, source, target), text in WRITES.items()
        if name == machine and source in (None, step.source) and target in (None, step.target)
    ]


def _severity_note(machine: StateMachine) -> list[str]:
    if machine.name != "workstream":
        return []
    return ["The failure of a workstream with `is_critical` is critical."]
