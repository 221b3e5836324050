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


USERS = (
    *("tool", "exit gate", "entry gate", "gate below", "merge gate"),
    *("compensation", "gate of a compensation"),
)


@pytest.mark.parametrize("user", USERS)
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
    elif user == "compensation":
        one["compensation"] = [{"action": "command", **missing("no-such")}]
    elif user == "gate of a compensation":
        one["compensation"] = [{"action": "run_gates", "gates": ["gone"]}]
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


def test_commands_of_compensations_are_looked_for_where_they_will_run(lab: Lab) -> None:
    make_repository(lab.repo)
    write(lab.folder, {"undo.sh": "#!/bin/sh\n"})
    (lab.folder / "undo.sh").chmod(0o755)
    undo = [["{plan_dir}/undo.sh"], ["scripts/undo"], ["{worktree}/undo"], ["sh", "-c", "no-such"]]
    actions = [{"action": "command", "command": command} for command in undo]
    off = task("do", "true", compensation=[{"action": "command", **missing("no-such")}])
    revision = lab.register(
        stream("core", task("do", "true", compensation=actions)), stream("off", off, enabled=False)
    )
    check_environment(lab.home, revision)
    (lab.folder / "undo.sh").unlink()
    with pytest.raises(PreflightError, match=r"compensation of core/do needs .*undo\.sh"):
        check_environment(lab.home, revision)
