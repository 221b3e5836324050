"""How a workstream gets onto the target, and what is said when it does not fit."""

from typing import Any

import pytest

from pipeline_defs.plan.loader import parse_plan
from state.errors import PlanError
from state.queries import history
from tests.pipeline.lab import Lab, lines, make_repository, stream, task


def push(lab: Lab, path: str) -> str:
    """A script with which Ann commits to the target, in a file."""
    who = [
        f"GIT_{role}_{what}=ann" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    ]
    return lines(
        f"cd {lab.repo}",
        f"export GIT_INDEX_FILE=$(mktemp -u) {' '.join(who)}",
        "git read-tree main",
        "blob=$(echo theirs | git hash-object -w --stdin)",
        f"git update-index --add --cacheinfo 100644,$blob,{path}",
        "commit=$(git commit-tree -p main -m 'Ann was here' $(git write-tree))",
        "rm $GIT_INDEX_FILE",
        "git update-ref refs/heads/main $commit",
    )


def parents(lab: Lab, commit: str = "main") -> list[str]:
    return lab.git("rev-list", "--parents", "-n1", commit).split()[1:]


def test_by_default_the_target_is_fast_forwarded(lab: Lab) -> None:
    ran = lab.run(stream("core", task("one", "echo more >> a.txt")))
    assert lab.head() == ran.workstream("core").head_commit
    assert [gate.commit_sha for gate in ran.gates(role="workstream")] == [lab.head()]


def test_merge_makes_a_merge_commit_that_can_be_proved(lab: Lab) -> None:
    make_repository(lab.repo)
    before = lab.head()
    ran = lab.run(
        stream("core", task("one", "echo more >> a.txt"), task("two", "echo more >> b.txt")),
        merge="merge",
    )
    assert ran.state == "succeeded"
    row = ran.workstream("core")
    assert parents(lab) == [before, row.head_commit]
    assert (row.merge_commit, ran.summary["head"]) == (lab.head(), lab.head())
    tree = lab.git("rev-parse", "main^{tree}")
    assert tree == lab.git("rev-parse", f"{row.head_commit}^{{tree}}")
    assert lab.git("status", "--porcelain") == ""
    gates = ran.gates(role="workstream")
    assert {gate.tree for gate in gates} == {tree}
    body = lab.git("log", "-1", "--format=%(trailers:only,unfold)", "main")
    said = dict(line.split(": ", 1) for line in body.splitlines())
    assert said == {
        "Patchline-Run": ran.run_id,
        "Patchline-Workstream": row.ws_id,
        "Patchline-Gates": ", ".join(gate.gate_id for gate in gates),
        "Patchline-Audit": said["Patchline-Audit"],
    }
    told = history(lab.store, "workstream", row.ws_id)
    (audited,) = [one for one in told if one.event_id == said["Patchline-Audit"]]
    assert audited.to_state == "validating"


def test_merge_is_made_anew_on_what_a_person_pushed_meanwhile(lab: Lab) -> None:
    make_repository(lab.repo)
    lab.git("checkout", "-q", "--detach")
    once = lab.folder / "pushed"
    gate = f"test -e {once} || ( touch {once}\n{push(lab, 'theirs.txt')}\n)"
    work = stream("core", task("one", "echo more >> a.txt", gates=["ok"]), gates=["push"])
    ran = lab.run(work, merge="merge", gates={"push": {"command": ["sh", "-c", gate]}})
    assert ran.state == "succeeded", ran.summary
    first, second = parents(lab)
    assert lab.git("log", "-1", "--format=%s", first) == "Ann was here"
    assert second == ran.workstream("core").head_commit
    assert lab.show("theirs.txt") == "theirs"
    assert len(ran.gates(role="workstream")) == 2


@pytest.mark.parametrize("value", ["squash", "rebase", "", True])
def test_another_way_to_merge_is_refused(value: Any) -> None:
    shown = "true" if value is True else f'"{value}"'
    plan = f"""
plan: trial
merge: {shown}
tools: {{t: {{command: ["true"]}}}}
gates: {{g: {{command: ["true"]}}}}
workstreams: [{{id: core, title: c, gates: [g], tasks: [{{id: one, title: one, tool: t}}]}}]
"""
    with pytest.raises(PlanError) as refused:
        parse_plan(plan.encode(), "plan.yaml")
    (error,) = refused.value.problems
    assert (error.path, error.line) == ("merge", 3)
    assert "ff" in f"{error.message} {error.hint}"
    assert "merge" in f"{error.message} {error.hint}"


def test_a_conflict_names_the_tasks_of_both_sides(lab: Lab) -> None:
    mark = lab.folder / "landed"
    ran = lab.run(
        stream(
            "core",
            task("first", f"echo first > a.txt; touch {mark}"),
            task(
                "second",
                f"echo second > a.txt; until [ -e {mark} ]; do sleep 0.01; done; "
                f"until git --git-dir {lab.repo}/.git log --all --format=%s | grep -q 'Do first'; "
                "do sleep 0.01; done",
                critical=False,
            ),
        ),
        policy={"allow_noncritical_failures": True},
    )
    (landed,), (refused,) = ran.ledger("core/first"), ran.ledger("core/second")
    whose = f"core/first ({landed.ledger_id}, commit {landed.commit_sha[:12]})"
    assert refused.quarantine_reason == (
        f"conflict of core/second with {landed.commit_sha[:12]} in a.txt, changed by {whose}"
    )
    assert refused.failure_reason == refused.quarantine_reason
    assert refused.reasons == [
        {"code": "conflict", "path": "a.txt", "message": f"core/second conflicts with {whose}"}
    ]
    assert whose in ran.task("core/second").feedback


def test_a_conflict_with_a_person_names_the_commit(lab: Lab) -> None:
    make_repository(lab.repo)
    lab.git("checkout", "-q", "--detach")
    ran = lab.run(stream("core", task("one", f"( {push(lab, 'a.txt')} ); echo ours > a.txt")))
    assert ran.state == "failed"
    person = lab.head()[:12]
    told = f'conflict with main in a.txt, changed by commit {person} "Ann was here"'
    assert ran.workstream("core").reason == told
