"""Every mistake in a plan is reported at once, each with its line, column, path and remedy."""

from typing import Any

import pytest

from pipeline_defs.plan.loader import analyse, parse_plan
from state.errors import PlanError, PlanProblem

PLAN = """\
plan: demo
base: main
defaults: {tool: fixer, max_retries: 3}
policy: {max_files: 100, forbid: [".env*"]}
max_concurrent: 4
tools:
  fixer: {command: [ruff, check], env: {LEVEL: low}}
gates:
  lint: {type: LINT, command: [ruff, check, .]}
  unit: {command: [pytest], depends_on: [lint]}
workstreams:
  - id: core
    gates: [lint, unit]
    files_scope: ["src/core/**"]
    tasks:
      - id: imports
        depends_on: []
      - id: format
        depends_on: [imports]
  - id: web
    depends_on: [core]
    tasks:
      - {id: pages, tool: fixer, gates: [lint]}
"""


def problems(text: str) -> tuple[PlanProblem, ...]:
    return analyse(text.encode(), "plan.yaml").problems


def test_the_plan_that_these_tests_break_is_good() -> None:
    assert problems(PLAN) == ()


CASES: list[tuple[str, str, int, int, str, str, str]] = [
    # (text, its replacement, line, column, path, part of the message, part of the hint)
    ("base: main", "bas: main", 2, 1, "bas", "Unknown key `bas`", "`base`"),
    ("base: main", "zzz: main", 2, 1, "zzz", "Unknown key", "keys here are `base`"),
    ("base: main", "base: -x", 2, 7, "base", "not a git name", "main"),
    ("plan: demo", "plan: My Plan!", 1, 7, "plan", "not an id", "`my-plan`"),
    ("plan: demo", "title: x", 1, 1, "plan", "`plan` is missing", "plan: my-plan"),
    ("max_retries: 3", "max_retrys: 3", 3, 25, "defaults.max_retrys", "Unknown", "`max_retries`"),
    ("max_retries: 3", "max_retries: -1", 3, 38, "defaults.max_retries", "at least 0", ""),
    ("max_files: 100", 'max_files: "9"', 4, 21, "policy.max_files", "whole number", "without q"),
    ('".env*"', '"!.env"', 4, 35, "policy.forbid[0]", "negation", ""),
    ("max_concurrent: 4", "max_concurrent: yes", 5, 17, "max_concurrent", "not true", ""),
    (
        "fixer: {command: [ruff, check]",
        "fixer: {command: ruff check",
        7,
        20,
        "tools.fixer.command",
        "must be a list",
        '["ruff", "check"]',
    ),
    ("[ruff, check], env", "[], env", 7, 20, "tools.fixer.command", "is empty", "[ruff, check"),
    (
        "[ruff, check], env",
        "[ruff, {files}], env",
        7,
        27,
        "tools.fixer.command[1]",
        "must be text",
        '"{files}"',
    ),
    ("LEVEL: low", "LEVEL: on", 7, 48, "tools.fixer.env.LEVEL", "must be text", "truth values"),
    ("type: LINT", "type: lint", 9, 16, "gates.lint.type", 'cannot be "lint"', "`LINT`"),
    (
        "  unit: {command: [pytest]",
        "  Unit: {command: [pytest]",
        10,
        3,
        "gates.Unit",
        "not an id",
        "lower-case",
    ),
    (
        "depends_on: [lint]",
        "depends_on: [lnt]",
        10,
        42,
        "gates.unit.depends_on[0]",
        "no gate `lnt`",
        "`lint`",
    ),
    ("- id: core", "- id: 12", 12, 9, "workstreams[0].id", "must be text", '"12"'),
    ("[lint, unit]", "[lint, unti]", 13, 19, "workstreams[0].gates[1]", "no gate `unti`", "`unit`"),
    (
        "src/core/**",
        "../core",
        14,
        19,
        "workstreams[0].files_scope[0]",
        "`..` segment",
        "repository's root",
    ),
    ("- id: imports", "- id: yes", 16, 13, "workstreams[0].tasks[0].id", "must be text", "quotes"),
    (
        "depends_on: []",
        "depends: []",
        17,
        9,
        "workstreams[0].tasks[0].depends",
        "Unknown key",
        "`depends_on`",
    ),
    (
        "depends_on: []",
        "timeout_sec: 0",
        17,
        22,
        "workstreams[0].tasks[0].timeout_sec",
        "greater than 0",
        "",
    ),
    (
        "depends_on: []",
        "on_no_change: completed",
        17,
        23,
        "workstreams[0].tasks[0].on_no_change",
        "cannot be",
        "`complete`",
    ),
    (
        "depends_on: []",
        "compensation: [{action: undo}]",
        17,
        33,
        "workstreams[0].tasks[0].compensation[0].action",
        "cannot be",
        "git_revert",
    ),
    (
        "[imports]",
        "[import]",
        19,
        22,
        "workstreams[0].tasks[1].depends_on[0]",
        "no task `import`",
        "`imports`",
    ),
    (
        "[imports]",
        "[format]",
        19,
        22,
        "workstreams[0].tasks[1].depends_on[0]",
        "depends on itself",
        "Remove",
    ),
    (
        "[imports]",
        "[core/imports]",
        19,
        22,
        "workstreams[0].tasks[1].depends_on[0]",
        "of this workstream",
        "`imports`",
    ),
    (
        "[imports]",
        "[web/pages]",
        19,
        22,
        "workstreams[0].tasks[1].depends_on[0]",
        "another workstream",
        "`core` depend on `web`",
    ),
    (
        "[imports]",
        "[imports, imports]",
        19,
        31,
        "workstreams[0].tasks[1].depends_on[1]",
        "listed twice",
        "Keep one",
    ),
    (
        "- id: format",
        "- id: imports",
        18,
        13,
        "workstreams[0].tasks[1].id",
        "two tasks `imports`",
        "Rename",
    ),
    ("[core]", "[croe]", 21, 18, "workstreams[1].depends_on[0]", "no workstream `croe`", "`core`"),
    ("- id: web", "- id: core", 20, 9, "workstreams[1].id", "two workstreams `core`", "Rename"),
    (
        "tool: fixer, gates",
        "tool: fixr, gates",
        23,
        27,
        "workstreams[1].tasks[0].tool",
        "no tool `fixr`",
        "`fixer`",
    ),
    (
        "- {id: pages, tool: fixer, gates: [lint]}",
        "[]",
        23,
        7,
        "workstreams[1].tasks",
        "`web` has no tasks",
        "remove it",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[4]}: {case[1]}")
def test_a_mistake_is_named_where_it_is(case: tuple[Any, ...]) -> None:
    text, replacement, line, column, path, message, hint = case
    assert text in PLAN
    found = problems(PLAN.replace(text, replacement, 1))
    [problem] = [one for one in found if one.path == path and message in one.message]
    assert (problem.line, problem.column) == (line, column)
    assert hint in (problem.hint or "")
    assert problem.file == "plan.yaml"


def test_a_task_without_any_tool_is_refused() -> None:
    [problem] = problems(PLAN.replace("{tool: fixer, max_retries: 3}", "{max_retries: 3}"))[:1]
    assert (problem.line, problem.column) == (16, 9)
    assert "`core/imports` has no tool" in problem.message


def test_mistakes_of_form_and_of_reference_are_reported_together_in_file_order() -> None:
    text = PLAN.replace("base: main", "bas: main").replace("[imports]", "[import]")
    text = text.replace("max_files: 100", "max_files: many").replace("tool: fixer, g", "tool: x, g")
    found = problems(text)
    assert [one.path for one in found] == [
        "bas",
        "policy.max_files",
        "workstreams[0].tasks[1].depends_on[0]",
        "workstreams[1].tasks[0].tool",
    ]


def test_a_name_that_cannot_be_read_is_not_blamed_on_those_who_use_it() -> None:
    found = problems(PLAN.replace("- id: core", "- id: Core").replace("[core]", "[Core]"))
    assert [one.path for one in found] == ["workstreams[0].id"]
    assert "`core`" in (found[0].hint or "")


def test_an_item_of_the_wrong_kind_does_not_shift_the_places_of_the_others() -> None:
    text = PLAN.replace("      - id: imports\n        depends_on: []", "      - 5")
    text = text.replace("[imports]", "[format]")
    assert [(one.path, one.line, one.column) for one in problems(text)] == [
        ("workstreams[0].tasks[0]", 16, 9),
        ("workstreams[0].tasks[1].depends_on[0]", 18, 22),
    ]


def test_a_circle_is_named_whole() -> None:
    text = PLAN.replace("depends_on: []", "depends_on: [format]")
    [problem] = problems(text)
    assert problem.message.endswith("in a circle: imports -> format -> imports.")
    assert (problem.line, problem.column) == (17, 22)


def test_a_circle_of_workstreams_or_gates_is_named_too() -> None:
    text = PLAN.replace("  - id: core\n", "  - id: core\n    depends_on: [web]\n")
    text = text.replace("LINT, command", "LINT, depends_on: [unit], command")
    assert [one.message for one in problems(text)] == [
        "The gates depend on each other in a circle: lint -> unit -> lint.",
        "The workstreams depend on each other in a circle: core -> web -> core.",
    ]


def test_each_problem_is_one_line_for_people() -> None:
    with pytest.raises(PlanError) as caught:
        parse_plan(PLAN.replace("base: main", "bas: main").encode(), "plans/demo.yaml")
    assert str(caught.value.problems[0]) == (
        "plans/demo.yaml:2:1: Unknown key `bas`. Did you mean `base`?"
    )


@pytest.mark.parametrize(
    ("text", "replacement", "path"),
    [
        ("[ruff, check], env", "[1], env", "tools.fixer.command[0]"),
        ("gates: [lint, unit]\n", "gates: [lint, unit]\n    tols: 1\n", "workstreams[0].tols"),
    ],
)
def test_a_list_whose_only_item_is_wrong_is_not_called_empty(
    text: str, replacement: str, path: str
) -> None:
    one_workstream = PLAN[: PLAN.index("  - id: web")]
    found = problems(one_workstream.replace(text, replacement))
    assert [one.path for one in found] == [path]
