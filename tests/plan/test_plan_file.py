"""Reading a plan file: YAML and JSON as people write them, with the place of everything wrong."""

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline_defs.plan.document import MAX_BYTES, MAX_DEPTH
from pipeline_defs.plan.loader import analyse, load_plan, parse_plan
from state.errors import PlanError, PlanProblem

GOOD = """\
plan: demo
x-shared: &shared {timeout_sec: 5}
_comment: anything
repo: ../sample
tools:
  _comment: about tools
  fixer: {command: [ruff, check, "{files}"], <<: *shared}
gates:
  lint: {command: [ruff, check, .]}
workstreams:
  - id: core
    _comment: {why: [because]}
    gates: [lint]
    tasks:
      - id: imports
        tool: fixer
        x-owner: somebody
        env: {_comment: kept, x-y: kept}
"""


def problems(text: str | bytes, file: str = "plan.yaml") -> tuple[PlanProblem, ...]:
    """Return what is wrong with a plan; fails when nothing is."""
    with pytest.raises(PlanError) as caught:
        parse_plan(text.encode() if isinstance(text, str) else text, file)
    return caught.value.problems


def only(text: str | bytes, file: str = "plan.yaml") -> PlanProblem:
    """Return the one thing that is wrong with a plan."""
    [problem] = problems(text, file)
    return problem


def place(problem: PlanProblem) -> tuple[int | None, int | None]:
    return problem.line, problem.column


def test_notes_are_dropped_everywhere_but_variables_are_kept() -> None:
    plan = parse_plan(GOOD.encode(), "plan.yaml")
    [(name, _, task)] = plan.tasks()
    assert name == "core/imports"
    assert task.env == {"_comment": "kept", "x-y": "kept"}
    assert list(plan.tools) == ["fixer"]


def test_merged_keys_count_as_written() -> None:
    assert parse_plan(GOOD.encode(), "plan.yaml").tools["fixer"].timeout_sec == 5


def test_a_mistake_in_merged_keys_is_placed_where_it_is_written() -> None:
    problem = only(GOOD.replace("timeout_sec: 5", "timeout_sec: -5"))
    assert place(problem) == (2, 33)
    assert problem.path == "tools.fixer.timeout_sec"
    assert problem.message == "`timeout_sec` must be greater than 0, not -5."


def test_a_loaded_plan_carries_its_bytes_and_their_hash(tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    loaded = load_plan(file)
    assert loaded.plan == parse_plan(GOOD.encode(), "plan.yaml")
    assert loaded.data == file.read_bytes()
    assert len(loaded.sha256) == 64
    assert loaded.path == file


def test_the_same_plan_may_be_json(tmp_path: Path) -> None:
    plan = parse_plan(GOOD.encode(), "plan.yaml")
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(plan.model_dump(mode="json"), indent="\t"))
    assert load_plan(file).plan == plan


def test_json_numbers_and_escapes_are_jsons_own() -> None:
    text = GOOD.replace("plan: demo", "plan: demo\ntitle: T")
    plan = parse_plan(text.encode(), "plan.yaml").model_dump(mode="json")
    source = json.dumps(plan).replace('"title": "T"', '"title": "\\ud83d\\ude00 \\/", "base": "x"')
    source = source.replace('"timeout_sec": 5.0', '"timeout_sec": 1e2', 1)
    source = source.replace('"base": "main", ', "")
    read = parse_plan(source.encode(), "plan.json")
    assert read.title == "😀 /"
    assert read.tools["fixer"].timeout_sec == 100


def test_bad_json_is_placed_by_the_json_parser() -> None:
    problem = only('{"plan": "demo",\n  oops}', "plan.json")
    assert place(problem) == (2, 3)
    assert "Not valid JSON" in problem.message


@pytest.mark.parametrize("value", ["NaN", "Infinity"])
def test_json_constants_that_are_no_numbers_are_refused(value: str) -> None:
    problem = only(f'{{"plan": {value}}}', "plan.json")
    assert f"{value} is not a number" in problem.message


@pytest.mark.parametrize(
    ("text", "line", "column", "message", "hint"),
    [
        ("", 1, 1, "empty", "Begin with"),
        ("- a\n- b\n", 1, 1, "a mapping", "Begin with"),
        ("plan: a\nplan: b\n", 2, 1, "`plan` is here twice", "line 1"),
        ("plan:\n\tid: 1\n", 2, 1, "A tab cannot indent", "spaces"),
        ("plan: a\n---\nplan: b\n", 2, 1, "second YAML document", "---"),
        ("plan: !secret x\n", 1, 7, "tag `!secret`", "quotes"),
        ("plan: [*.py]\n", 1, 8, "begins an alias", "quotes"),
        ("plan: [**/*.py]\n", 1, 8, "begins an alias", "quotes"),
        ("plan: @x\n", 1, 7, "cannot begin with `@`", "quotes"),
        ("plan: b: c\n", 1, 8, "second `: `", "quotes"),
        ("plan: [a\n", 1, 7, "never closed", "Close"),
        ("plan: 'a\n", 1, 7, "never closed", "Close"),
        ("plan:\n  a: 1\n b: 2\n", 3, 2, "does not fit in", "siblings"),
        ("plan: &a [*a]\n", 1, 7, "contains itself", "without aliases"),
        ("plan: .inf\n", 1, 7, "not a number of any use", "Leave"),
        ("plan: .nan\n", 1, 7, "not a number of any use", "Leave"),
        ("plan: 0x" + "f" * 9999, 1, 7, "not a number of any use", "Leave"),
        ("plan: " + "9" * 9999, 1, 7, "cannot be read as int", "quotes"),
        ("~\n", 1, 1, "a mapping", "Begin with"),
        ("? [a]\n: b\n", 1, 3, "key must be text", "quotes"),
        ('plan: "a\\0b"\n', 1, 7, "NUL", "Remove"),
        ("plan: a\ntitle: b\0c\n", 2, 9, "NUL", "Remove"),
        ("plan: a\ntitle: \x07\n", 2, 8, "U+0007", "Remove"),
    ],
)
def test_what_is_not_a_plain_document_is_named_and_placed(
    text: str, line: int, column: int, message: str, hint: str
) -> None:
    [problem] = [one for one in problems(text) if message in one.message]
    assert place(problem) == (line, column)
    assert hint in (problem.hint or "")


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.integers(0, len(GOOD)), st.integers(0, 12), st.text(max_size=6), st.booleans())
@example(0, len(GOOD), "", True)
def test_whatever_happens_to_a_file_it_is_a_plan_or_has_a_placed_problem(
    at: int, width: int, text: str, as_json: bool
) -> None:
    source = GOOD
    if as_json:
        source = json.dumps(yaml.safe_load(GOOD), indent=1)
    damaged = (source[:at] + text + source[at + width :]).encode("utf-8", "replace")
    found = analyse(damaged, "plan.json" if as_json else "plan.yaml")
    assert found.plan is not None or found.problems
    for problem in found.problems:
        assert problem.line is not None
        assert problem.line >= 1
        assert problem.message.endswith(".")


def test_bytes_that_are_not_utf8_are_placed() -> None:
    problem = only("plan: é\nti".encode() + b"\xff")
    assert place(problem) == (2, 3)
    assert "0xff is not UTF-8" in problem.message


def test_a_file_beyond_all_reason_is_refused_unread() -> None:
    assert str(MAX_BYTES) in only(b"#" * (MAX_BYTES + 1)).message


def test_endless_nesting_is_refused() -> None:
    for text in ("[" * 50_000, "[" * 50_000 + "]" * 50_000):
        problem = only(text)
        assert "nested more than" in problem.message
        assert place(problem) == (1, MAX_DEPTH + 1)
    assert "nested" in only("[" * 50_000, "plan.json").message


def test_aliases_that_unfold_without_end_are_refused() -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "unfolds to more than" in only("\n".join(lines)).message
    chain = ["b0: &b0 [1]"] + [f"b{n}: &b{n} [*b{n - 1}]" for n in range(1, 2000)]
    assert "unfolds too deeply" in only("\n".join(chain)).message


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_a_file_that_cannot_be_read_is_a_problem_of_the_plan(tmp_path: Path, name: str) -> None:
    with pytest.raises(PlanError) as caught:
        load_plan(tmp_path / name)
    [problem] = caught.value.problems
    assert problem.message.startswith("The plan cannot be read")
    assert problem.hint
