"""What a plan says about a task once its defaults are applied."""

from typing import Any

import pytest
from pydantic import ValidationError

from pipeline_defs.plan.model import Plan, ResolvedTask
from resources.specs import OnNoChange, RetrySpec


def resolve(
    task: dict[str, Any] | None = None,
    workstream: dict[str, Any] | None = None,
    tool: dict[str, Any] | None = None,
    defaults: dict[str, Any] | None = None,
) -> ResolvedTask:
    """Make a plan of one task and apply its defaults."""
    plan = Plan.model_validate(
        {
            "plan": "demo",
            "tools": {"fixer": {"command": ["true"], **(tool or {})}, "other": {"command": ["x"]}},
            "gates": {"lint": {"command": ["true"]}, "unit": {"command": ["true"]}},
            "defaults": {"tool": "fixer", **(defaults or {})},
            "workstreams": [
                {"id": "core", **(workstream or {}), "tasks": [{"id": "one", **(task or {})}]}
            ],
        }
    )
    [resolved] = plan.resolved_tasks()
    return resolved


def test_a_plan_that_says_little_has_the_documented_defaults() -> None:
    task = resolve()
    assert (task.name, task.tool_id) == ("core/one", "fixer")
    assert (task.max_retries, task.timeout_sec, task.critical) == (3, 600, True)
    assert task.retry == RetrySpec(base_sec=1, cap_sec=60)
    assert (task.scope, task.create, task.gates) == (("**",), (), ())
    assert task.on_no_change is OnNoChange.FAIL
    plan = Plan.model_validate({"plan": "p", "workstreams": [{"id": "w", "tasks": []}]})
    assert (plan.base, plan.target, plan.max_concurrent) == ("main", "main", 4)


def test_a_task_wins_over_its_tool_and_the_tool_over_the_defaults() -> None:
    defaults = {"timeout_sec": 30}
    assert resolve(defaults=defaults).timeout_sec == 30
    assert resolve(tool={"timeout_sec": 20}, defaults=defaults).timeout_sec == 20
    assert resolve({"timeout_sec": 10}, tool={"timeout_sec": 20}).timeout_sec == 10


def test_a_task_that_says_zero_or_false_is_heard() -> None:
    task = resolve({"max_retries": 0, "critical": False}, defaults={"max_retries": 5})
    assert (task.max_retries, task.critical) == (0, False)
    assert resolve(defaults={"critical": False}).critical is False
    assert resolve({"critical": True}, defaults={"critical": False}).critical is True


def test_a_tool_may_settle_what_no_change_means() -> None:
    assert resolve(tool={"on_no_change": "complete"}).on_no_change is OnNoChange.COMPLETE
    task = resolve({"on_no_change": "fail"}, tool={"on_no_change": "complete"})
    assert task.on_no_change is OnNoChange.FAIL


def test_a_task_without_gates_is_judged_by_those_of_its_workstream() -> None:
    workstream = {"gates": ["lint", "unit"]}
    assert resolve(workstream=workstream).gates == ("lint", "unit")
    assert resolve({"gates": ["lint"]}, workstream).gates == ("lint",)
    assert resolve({"gates": []}, workstream).gates == ()


def test_a_task_without_a_scope_has_that_of_its_workstream() -> None:
    workstream = {"files_scope": ["src/**"], "files_create": ["docs/*"]}
    assert resolve(workstream=workstream).scope == ("src/**",)
    assert resolve(workstream=workstream).create == ("docs/*",)
    task = resolve({"files_scope": ["src/a.py"]}, workstream)
    assert (task.scope, task.create) == (("src/a.py",), ("docs/*",))


def test_a_task_that_only_names_files_to_create_may_change_no_other() -> None:
    task = resolve({"files_create": ["docs/new.md"]})
    assert (task.scope, task.create) == ((), ("docs/new.md",))


def test_an_empty_scope_that_is_written_down_does_not_widen() -> None:
    workstream = {"files_scope": ["src/**"], "files_create": ["docs/*"]}
    assert resolve({"files_scope": []}, workstream).scope == ()
    assert resolve({"files_scope": []}).scope == ()
    assert resolve(workstream={"files_scope": []}).scope == ()
    assert resolve({"files_create": []}, workstream).create == ()
    assert resolve({"files_create": []}, {"files_create": ["docs/*"]}).scope == ()
    assert resolve({"files_create": []}).scope == ("**",)


def test_capabilities_add_up_and_the_tasks_variables_win() -> None:
    task = resolve(
        {"capabilities": ["gpu"], "env": {"A": "task"}},
        tool={"capabilities": ["python"], "env": {"A": "tool", "B": "tool"}},
    )
    assert task.capabilities == {"gpu", "python"}
    assert task.env == {"A": "task", "B": "tool"}


def test_tasks_are_found_by_their_full_name() -> None:
    plan = Plan.model_validate(
        {"plan": "p", "workstreams": [{"id": "w", "tasks": [{"id": "a"}, {"id": "b"}]}]}
    )
    assert [name for name, _, _ in plan.tasks()] == ["w/a", "w/b"]
    assert plan.find_task("w/b")[1].id == "b"
    assert plan.workstream("w").tasks[0].id == "a"
    with pytest.raises(KeyError):
        plan.find_task("w/c")


def test_a_plan_cannot_be_changed() -> None:
    plan = Plan.model_validate({"plan": "p", "workstreams": [{"id": "w", "tasks": []}]})
    with pytest.raises(ValidationError):
        plan.plan = "q"  # pyright: ignore[reportAttributeAccessIssue]
