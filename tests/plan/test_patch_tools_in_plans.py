"""What `validate` says of tools of kind `patch`."""

import pytest

from pipeline_defs.plan.loader import analyse, parse_plan
from resources.specs import ToolKind
from state.errors import PlanProblem

PLAN = """\
plan: demo
tools:
  fix: {TOOL}
gates:
  ok: {command: ["true"]}
workstreams:
  - id: core
    gates: [ok]
    tasks: [{id: do, tool: fix}]
"""


def problems(tool: str) -> tuple[PlanProblem, ...]:
    return analyse(PLAN.replace("TOOL", tool).encode(), "plan.yaml").problems


def test_a_tool_is_a_command_unless_it_says_that_it_is_a_patch() -> None:
    assert problems('kind: patch, file: "{plan_dir}/{task}-{attempt}.patch"') == ()
    assert problems("kind: command, command: [true]".replace("true", "'true'")) == ()
    plan = parse_plan(PLAN.replace("TOOL", "command: [x]").encode(), "plan.yaml")
    assert plan.tools["fix"].kind is ToolKind.COMMAND


@pytest.mark.parametrize(
    ("tool", "path", "message", "hint"),
    [
        ("env: {A: b}", "tools.fix.command", "`command` is missing", "kind: patch"),
        ("command: []", "tools.fix.command", "`command` is empty", "list of words"),
        ("file: fix.patch", "tools.fix.file", "has no `file`", "Add `kind: patch`"),
        ("command: [x], file: fix.patch", "tools.fix.file", "has no `file`", "Take `file` out"),
        ("kind: patch", "tools.fix.file", "`file` is missing", "fix.patch"),
        ("kind: patch, file: ' '", "tools.fix.file", "`file` is empty", "fix.patch"),
        (
            "kind: patch, file: a.patch, command: [x]",
            "tools.fix.command",
            "runs no command",
            "Take `command` out",
        ),
        ("kind: patch, file: '{tsk}.patch'", "tools.fix.file", "`{tsk}`", "`task`"),
        ("kind: patch, file: '{prompt}.patch'", "tools.fix.file", "`{prompt}`", "placeholders"),
        ("kind: patsch, file: a", "tools.fix.kind", "cannot be", "`patch`"),
        ("command: x", "tools.fix.command", "must be a list", '["x"]'),
    ],
)
def test_what_does_not_fit_its_kind_is_said_once_with_a_hint(
    tool: str, path: str, message: str, hint: str
) -> None:
    (problem,) = problems(tool)
    assert problem.path == path
    assert (problem.line, problem.file) == (3, "plan.yaml")
    assert message in problem.message
    assert problem.hint is not None
    assert hint in problem.hint
