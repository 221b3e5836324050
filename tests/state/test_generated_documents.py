"""The reference pages say what the state layer is, and all of it."""

import re
from pathlib import Path

import pytest

from pipeline_defs.cli.main import COMMANDS
from state.entities import KINDS
from state.facts import NEEDS, NEEDS_OPERATOR, STAMPS
from state.handbook import machine_words, schema_page, table_meanings
from state.handbook.column_meanings import COMMON, MACHINE_COLUMNS
from state.handbook.effects import effects_of
from state.handbook.pages import generated_pages
from state.machines import MACHINES
from state.schema import METADATA
from state.trigger_sql import Postgresql, Sqlite
from state.triggers import watches

DOCS = Path(__file__).parents[2] / "docs"
PAGES = generated_pages()
LABELS = (
    *(f"R{number}" for number in range(1, 6)),
    *(f"W{number}" for number in range(1, 9)),
    *(f"T{number}" for number in range(1, 10)),
    *(f"K{number}" for number in range(1, 5)),
    *(f"P{number}" for number in range(1, 6)),
    *("G1", "G2", "B1", "C"),
    *(f"E{number}" for number in range(1, 7)),
    "X",
)


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_up_to_date(name: str) -> None:
    written = (DOCS / name).read_text(encoding="utf-8")

    assert written == PAGES[name], f"docs/{name} is out of date: run `make docs` and commit it."


# State machines


def chapter(page: str, heading: str) -> str:
    return page.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


@pytest.mark.parametrize("name", MACHINES)
def test_a_diagram_has_every_transition_and_marks_the_extensions(name: str) -> None:
    machine, drawn = MACHINES[name], chapter(PAGES["STATE_MACHINES.md"], name)
    arrows = re.findall(r"^    (\S+) --> ([^\s:]+)(?:: (.*))?$", drawn, re.MULTILINE)

    assert ("[*]", machine.initial, "") in arrows
    assert {source for source, target, _ in arrows if target == "[*]"} == machine.terminal
    labels = {(one, other): label for one, other, label in arrows if label}
    steps = list(machine.all_transitions())
    assert labels.keys() == {(step.source, step.target) for step in steps}
    for step in steps:
        label = labels[step.source, step.target]
        assert label.startswith("(extension)") == step.extension
        assert label.removeprefix("(extension)<br/>").split("<br/>") == list(step.triggers)


@pytest.mark.parametrize("name", MACHINES)
def test_labels_and_states_are_words_that_mermaid_can_read(name: str) -> None:
    for step in MACHINES[name].all_transitions():
        for word in (step.source, step.target, *step.triggers):
            assert re.fullmatch(r"[A-Za-z_]+", word)
            assert word.lower() not in {"end", "state", "note", "class", "style", "direction"}


def test_effects_tell_of_every_stamp_and_of_what_a_trigger_adds() -> None:
    for name, machine in MACHINES.items():
        for step in machine.all_transitions():
            stamped = set(effects_of(machine, step, step.trigger).stamps) - {"heartbeat_at"}
            expected = STAMPS.get(name, {}).get(step.target)
            assert stamped == ({expected} if expected else set())

    task = MACHINES["task"]
    retry = task.transitions["running"]["retrying"]
    effects = effects_of(task, retry, "execution_failed")
    assert effects.clears == ("worker_id", "token")
    assert effects.counts == ("retry_count",)
    assert effects.sets == ()
    assert effects_of(task, retry, "timeout_exceeded").sets == ("timeout_occurred",)


def test_what_a_transition_needs_stands_in_its_row() -> None:
    for name, machine in MACHINES.items():
        part = chapter(PAGES["STATE_MACHINES.md"], name)
        for step in machine.all_transitions():
            (row,) = re.findall(
                rf"^\| `{step.source}` \| `{step.target}` \|.*$", part, re.MULTILINE
            )
            needs = row.split(" | ")[5]
            wanted = {*NEEDS.get(name, {}).get(step.target, ())}
            if (name, step.source, step.target) in NEEDS_OPERATOR:
                wanted.add("operator")
            assert all(f"`{column}`" in needs for column in wanted), row


def test_words_are_about_machines_and_transitions_that_exist() -> None:
    steps = {
        (name, step.source, step.target)
        for name, machine in MACHINES.items()
        for step in machine.all_transitions()
    }

    assert machine_words.ABOUT.keys() == MACHINES.keys()
    assert machine_words.GUARDS.keys() <= steps
    for name, source, target in machine_words.WRITES:
        assert any(
            name == step[0] and source in (None, step[1]) and target in (None, step[2])
            for step in steps
        )


# Tables


def test_every_table_has_a_purpose_and_none_is_left_over() -> None:
    assert table_meanings.TABLES.keys() == METADATA.tables.keys()


@pytest.mark.parametrize("name", METADATA.tables)
def test_every_column_has_a_meaning_and_none_is_left_over(name: str) -> None:
    columns = set(METADATA.tables[name].columns.keys())
    of_machine = name in MACHINE_COLUMNS
    own = (MACHINE_COLUMNS if of_machine else table_meanings.RECORD_COLUMNS)[name].keys()
    common = COMMON.keys() if of_machine else set[str]()

    assert columns - own - common == set(), "say what they mean in state/handbook"
    assert (own | common) - columns == set(), "these meanings are left over"
    assert own & common == set()


def test_the_common_columns_are_those_of_the_machines() -> None:
    assert MACHINE_COLUMNS.keys() == {machine.table for machine in MACHINES.values()}
    assert table_meanings.RECORD_COLUMNS.keys() == METADATA.tables.keys() - MACHINE_COLUMNS.keys()


def test_every_index_has_a_reason_and_none_is_left_over() -> None:
    indexes = {str(index.name): index for one in METADATA.tables.values() for index in one.indexes}
    reasons = {name: schema_page.index_reason(index) for name, index in indexes.items()}

    nameless = [name for name, reason in reasons.items() if reason == table_meanings.UNKNOWN]
    assert nameless == [], "say why in state/handbook/table_meanings.py"
    assert table_meanings.INDEXES.keys() <= indexes.keys()


def test_the_page_has_every_table_column_rule_and_trigger() -> None:
    page = PAGES["DATABASE_SCHEMA.md"]

    for one in METADATA.tables.values():
        part = chapter(page, one.name)
        assert all(f"| `{column.name}` |" in part for column in one.columns)
        named = [*one.indexes, *(rule for rule in one.constraints if "ck_" in str(rule.name))]
        assert all(f"| `{rule.name}` |" in part for rule in named)
        assert part.count(" refers to [") == len(one.foreign_keys)
        assert one.name in page.split("erDiagram", 1)[1].split("```", 1)[0]
    for spelling in (Sqlite(), Postgresql()):
        for watch in watches(spelling):
            part = chapter(page, watch.table)
            assert all(f"| `{rule.code}` | {rule.message}" in part for rule in watch.rules)
    assert page.count(" needs its audit row first |") == len(MACHINES)  # in both
    assert page.count(" that it tells of only (PostgreSQL only) |") == len(MACHINES)


def test_links_lead_to_headings() -> None:
    anchors = {
        name: {line[3:] for line in page.splitlines() if line.startswith("## ")}
        for name, page in PAGES.items()
    }
    for name, page in PAGES.items():
        for target, anchor in re.findall(r"\]\(([A-Z_]*(?:\.md)?)#([a-z_]+)\)", page):
            assert anchor in anchors[target or name]


# Differences


DIFFERENCES = (DOCS / "DIFFERENCES.md").read_text(encoding="utf-8")


def test_each_decision_is_there_once_and_says_where_it_shows() -> None:
    entries = re.split(r"^### ", DIFFERENCES, flags=re.MULTILINE)[1:]

    assert [entry.split()[0] for entry in entries] == list(LABELS)
    for entry in entries:
        assert entry.count("**Where:**") == 1, entry


def test_the_columns_and_commands_that_it_names_exist() -> None:
    spans = re.findall(r"`([^`\n]+)`", DIFFERENCES)
    commands = {words[1] for span in spans if (words := span.split())[0] == "patchline"}
    columns = [span.split(".") for span in spans if re.fullmatch(r"[a-z_]+\.[a-z_]+", span)]

    assert commands - COMMANDS.keys() == {"--help"}
    for table, column in columns:
        if table != "transitions":  # the event file
            assert column in METADATA.tables[table].columns


def test_the_kinds_of_rows_are_all_described() -> None:
    assert {kind.table.name for kind in KINDS.values()} <= table_meanings.TABLES.keys()
