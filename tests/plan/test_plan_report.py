"""What `validate` says about a plan file."""

from pathlib import Path
from typing import Any

import pytest

from pipeline_defs.plan.loader import parse_plan
from pipeline_defs.plan.report import check_tested, untested_tasks, validate_file
from state.errors import PlanError

PLAN = """\
plan: demo
tools:
  fixer: {command: [ruff, "{files}"]}
gates:
  lint: {command: [ruff, check, .]}
workstreams:
  - id: core
    files_scope: ["src/core/**"]
    gates: [lint]
    tasks:
      - {id: imports, tool: fixer}
  - id: web
    files_scope: ["src/web/**"]
    gates: [lint]
    tasks:
      - {id: pages, tool: fixer}
"""
KEYS = ["plan_id", "workstreams", "tasks", "waves", "scope_conflicts", "errors", "warnings"]


def validate(folder: Path, text: str) -> dict[str, Any]:
    file = folder / "plan.yaml"
    file.write_text(text)
    return validate_file(file)


def test_a_good_plan_is_counted_and_layered(tmp_path: Path) -> None:
    said = validate(tmp_path, PLAN)
    assert list(said) == KEYS
    assert said == {
        "plan_id": "demo",
        "workstreams": 2,
        "tasks": 2,
        "waves": [["core", "web"]],
        "scope_conflicts": [],
        "errors": [],
        "warnings": [],
    }


def test_a_bad_plan_still_says_what_can_be_said(tmp_path: Path) -> None:
    said = validate(tmp_path, PLAN.replace("tool: fixer}\n  - id", "tol: fixer}\n  - id"))
    assert (said["plan_id"], said["workstreams"], said["tasks"]) == ("demo", 2, 2)
    assert said["waves"] == [["core", "web"]]
    assert [list(one) for one in said["errors"]] == [
        ["file", "line", "column", "path", "message", "hint"]
    ] * len(said["errors"])
    unknown = next(one for one in said["errors"] if "tol" in one["path"])
    assert unknown == {
        "file": str(tmp_path / "plan.yaml"),
        "line": 11,
        "column": 23,
        "path": "workstreams[0].tasks[0].tol",
        "message": "Unknown key `tol`.",
        "hint": "Did you mean `tool`?",
    }


@pytest.mark.parametrize("text", ["", "- 1", "plan: [", "plan: a\nworkstreams: 5\n"])
def test_a_hopeless_plan_is_an_answer_and_not_a_crash(tmp_path: Path, text: str) -> None:
    said = validate(tmp_path, text)
    assert list(said) == KEYS
    assert said["errors"]
    assert said["warnings"] == []


def test_names_that_could_not_be_read_are_never_invented(tmp_path: Path) -> None:
    said = validate(tmp_path, PLAN.replace("id: core", "id: true"))
    assert said["waves"] == [["web"]]
    assert "unreadable" not in str(said)


def test_a_missing_file_is_an_answer_too(tmp_path: Path) -> None:
    said = validate_file(tmp_path / "nowhere.yaml")
    assert "cannot be read" in said["errors"][0]["message"]


def test_a_task_that_nothing_would_test_is_pointed_out(tmp_path: Path) -> None:
    text = PLAN.replace("pages, tool: fixer}", "pages, tool: fixer, gates: []}")
    [warning] = validate(tmp_path, text)["warnings"]
    assert (warning["line"], warning["column"]) == (16, 9)
    assert "`web/pages`" in warning["message"]
    assert untested_tasks(parse_plan(text.encode(), "plan.yaml")) == ["web/pages"]
    assert untested_tasks(parse_plan(PLAN.encode(), "plan.yaml")) == []


@pytest.mark.parametrize(
    ("text", "replacement", "line", "column", "message"),
    [
        ("gates:\n", "gates:\n  spare: {command: [x]}\n", 5, 3, "uses the gate `spare`"),
        ("tools:\n", "tools:\n  spare: {command: [x]}\n", 3, 3, "uses the tool `spare`"),
        ("src/web/**", "src/**", 7, 5, "`core` may change the same files as `web`"),
        ('"{files}"', '"{file}"', 3, 27, "`{file}` is not a placeholder"),
        ('"{files}"', '"{nonsense}"', 3, 27, "`{nonsense}` is not a placeholder"),
        ('"{files}"', '"--only={file}"', 3, 27, "`{file}` is not a placeholder"),
        ("[ruff, check, .]", '[ruff, "{workspace}"]', 5, 26, "`{workspace}` is not a placeholder"),
        ('["src/core/**"]', "[]", 8, 18, "`core/imports` may touch no file"),
        ("]}\ngates", "], silence_sec: 9, timeout_sec: 5}\ngates", 3, 52, "before 9 s of silence"),
        ("plan: demo\n", "plan: demo\ntarget: next\n", 2, 9, "lands on `next`"),
        ("command: [ruff, check, .]", "blocking: false, command: [x]", 11, 9, "are advisory"),
    ],
)
def test_what_is_allowed_but_odd_is_a_warning(
    tmp_path: Path, text: str, replacement: str, line: int, column: int, message: str
) -> None:
    said = validate(tmp_path, PLAN.replace(text, replacement, 1))
    assert said["errors"] == []
    warning = said["warnings"][0]
    assert message in warning["message"]
    assert (warning["line"], warning["column"]) == (line, column)


@pytest.mark.parametrize(
    "command",
    [
        """["{prompt}", "-m{task}", "{worktree}/x", "{attempt}", "{feedback}", "{plan_dir}/a"]""",
        """[sh, -c, "echo ${HOME} {task} '{print $1}'"]""",
        """[sh, -c, 'fix "$1" "$@"', sh, "{prompt}", "{files}"]""",
        """[bash, fix.sh, -c, "{prompt}"]""",
        """[git, reset, "@{upstream}"]""",
        """[curl, -w, "%{http_code}"]""",
        """[python, -c, "print(f'{name} is {value}')"]""",
    ],
)
def test_braces_that_mean_what_they_say_are_no_warning(tmp_path: Path, command: str) -> None:
    text = PLAN.replace('[ruff, "{files}"]', command).replace("[ruff, check, .]", command)
    assert validate(tmp_path, text)["warnings"] == []


@pytest.mark.parametrize(
    ("command", "column", "hint"),
    [
        ('[sh, -c, "ask {prompt}"]', 29, '"$PATCHLINE_PROMPT"'),
        ('[bash, -euc, "echo {feedback}"]', 33, '"$PATCHLINE_FEEDBACK"'),
        ('[env, A=b, /bin/bash, -o, pipefail, -c, "x {files}"]', 60, '"$@"'),
    ],
)
def test_free_text_in_a_shells_program_is_pointed_out(
    tmp_path: Path, command: str, column: int, hint: str
) -> None:
    said = validate(tmp_path, PLAN.replace('[ruff, "{files}"]', command))
    assert said["errors"] == []
    [warning] = said["warnings"]
    assert (warning["line"], warning["column"]) == (3, column)
    assert "shell reads" in warning["message"]
    assert hint in warning["hint"]


def test_a_gate_is_told_to_take_free_text_as_an_argument(tmp_path: Path) -> None:
    text = PLAN.replace("[ruff, check, .]", '[sh, -c, "grep {prompt}"]')
    [warning] = validate(tmp_path, text)["warnings"]
    assert warning["line"] == 5
    assert "PATCHLINE" not in warning["hint"]
    assert '"$1"' in warning["hint"]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("undo {reason}", 'Write "$PATCHLINE_REASON"'),
        ("undo {ledgr}", "`ledger`"),
        ("undo {task} {commit}", ""),
    ],
)
def test_a_compensation_is_told_what_its_shell_would_read(
    tmp_path: Path, script: str, said: str
) -> None:
    action = f'{{action: command, command: [sh, -c, "{script}"]}}'
    text = PLAN.replace("tool: fixer}", f"tool: fixer, compensation: [{action}]}}", 1)
    warnings = validate(tmp_path, text)["warnings"]
    assert [said in warning["hint"] for warning in warnings] == [True] * bool(said)


def test_a_run_is_refused_with_the_place_of_every_untested_task() -> None:
    text = PLAN.replace("tool: fixer}", "tool: fixer, gates: []}")
    data = text.encode()
    with pytest.raises(PlanError) as refused:
        check_tested(parse_plan(data, "plan.yaml"), data, "plan.yaml")
    assert [(one.file, one.line, one.column, one.path) for one in refused.value.problems] == [
        ("plan.yaml", 11, 9, "workstreams[0].tasks[0]"),
        ("plan.yaml", 16, 9, "workstreams[1].tasks[0]"),
    ]
    check_tested(parse_plan(PLAN.encode(), "plan.yaml"), PLAN.encode(), "plan.yaml")


def test_a_scope_of_everything_is_named_as_such(tmp_path: Path) -> None:
    said = validate(tmp_path, PLAN.replace('    files_scope: ["src/core/**"]\n', ""))
    assert said["scope_conflicts"] == [["core", "web"]]
    assert "the whole repository" in said["warnings"][0]["message"]


def test_a_workstream_behind_a_disabled_one_is_pointed_out(tmp_path: Path) -> None:
    text = PLAN.replace("id: core\n", "id: core\n    enabled: false\n")
    text = text.replace("id: web\n", "id: web\n    depends_on: [core]\n")
    text += """\
  - id: last
    depends_on: [web]
    files_scope: ["src/last/**"]
    gates: [lint]
    tasks:
      - {id: pages, tool: fixer}
"""
    behind, further = validate(tmp_path, text)["warnings"]
    assert behind["message"] == "`web` is skipped, because `core` is disabled."
    assert further["message"] == "`last` is skipped, because `web` is skipped itself."
    assert validate(tmp_path, text + "policy: {skipped_satisfies: true}\n")["warnings"] == []
