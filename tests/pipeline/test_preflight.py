"""What is refused before anything starts, and what is not looked at because it will not run."""

from typing import Any

import pytest

from pipeline_defs.preflight import check_environment
from resources.git.repository_turn import LOCK_NAME
from state.errors import PreflightError
from tests.pipeline.lab import Lab, make_repository, stream, task, write


def missing(name: str) -> dict[str, Any]:
    return {"command": [name]}


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("HEAD", "no branch"),
        ("refs/heads/main", "write `main`"),
        ("patchline", "kept for the branches of runs"),
        ("patchline/mine", "kept for the branches of runs"),
        ("main/below", "beside the branch main"),
        ("topic", "beside the branch topic/one"),
        ("a..b", "no name that git allows"),
    ],
)
def test_a_target_that_nothing_could_land_on_is_refused(lab: Lab, target: str, said: str) -> None:
    make_repository(lab.repo)
    lab.git("branch", "topic/one")
    revision = lab.register(stream("core", task("do", "true")))
    with pytest.raises(PreflightError, match=said):
        check_environment(lab.home, revision, target=target)
    assert check_environment(lab.home, revision, target="topic/two").target == "topic/two"
    assert check_environment(lab.home, revision, target="patchline-work")


def test_a_branch_where_the_branches_of_runs_go_is_refused(lab: Lab) -> None:
    make_repository(lab.repo)
    lab.git("branch", "patchline")
    revision = lab.register(stream("core", task("do", "true")))
    with pytest.raises(PreflightError, match="git branch -m patchline"):
        check_environment(lab.home, revision)


def test_local_changes_of_the_target_are_named(lab: Lab) -> None:
    make_repository(lab.repo)
    revision = lab.register(stream("core", task("do", "true")))
    check_environment(lab.home, revision)
    assert not (lab.repo / ".git" / LOCK_NAME).exists(), "a clean checkout needs no turn"
    write(lab.repo, {"a.txt": "mine\n"})
    with pytest.raises(PreflightError, match=r"local changes \(a\.txt\)"):
        check_environment(lab.home, revision)


def test_only_what_will_run_needs_its_commands(lab: Lab) -> None:
    make_repository(lab.repo)
    revision = lab.register(
        stream("core", task("do", "true")),
        stream("off", task("do", "true", tool="gone"), enabled=False, gates=["gone-too"]),
        stream("after", task("do", "true", tool="gone"), depends_on=["off"]),
        tools={"gone": missing("no-such-tool")},
        gates={"gone-too": missing("no-such-gate"), "unused": missing("no-such-gate")},
    )
    check_environment(lab.home, revision)


@pytest.mark.parametrize("user", ["tool", "exit gate", "entry gate", "gate below", "merge gate"])
def test_what_will_run_needs_its_commands(lab: Lab, user: str) -> None:
    make_repository(lab.repo)
    gates: dict[str, Any] = {"gone": missing("no-such"), "top": {"command": ["true"]}}
    one, more = task("do", "true"), dict[str, Any]()
    if user == "tool":
        one["_tool"]["command"] = ["no-such"]
    elif user == "exit gate":
        one["gates"] = ["gone"]
    elif user == "entry gate":
        one["entry_gates"] = ["gone"]
    elif user == "gate below":
        gates["top"]["depends_on"], one["gates"] = ["gone"], ["top"]
    else:
        one["gates"], more["gates"] = ["ok"], ["gone"]
    revision = lab.register(
        stream("core", one, **more), stream("b", task("x", "true")), gates=gates
    )
    with pytest.raises(PreflightError, match="needs the command no-such"):
        check_environment(lab.home, revision)
    with pytest.raises(PreflightError, match="needs the command no-such"):
        check_environment(lab.home, revision, workstream="core")
    check_environment(lab.home, revision, workstream="b")
