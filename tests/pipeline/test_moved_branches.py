"""Tools and people who move or delete the branches of a run: the state says what is committed."""

import pytest

from resources.git.repository import Repository
from resources.landing.branches import BranchDisagrees, WorkstreamBranches
from tests.pipeline.lab import Lab, make_repository, stream, task

MOVE = (
    'repo=$(dirname "$(cat .git/objects/info/alternates)"); '
    "branch=$(git --git-dir $repo for-each-ref --format='%(refname)' refs/heads/patchline/); "
)
TO_MAIN = MOVE + "git --git-dir $repo update-ref $branch refs/heads/main; "
DELETE = MOVE + "git --git-dir $repo update-ref -d $branch; "
ALIAS = MOVE + "git --git-dir $repo symbolic-ref $branch refs/heads/main; "


@pytest.mark.parametrize("meddle", [TO_MAIN, DELETE, ALIAS], ids=["moved", "deleted", "aliased"])
def test_a_tool_that_meddles_with_the_branch_loses_no_commit(lab: Lab, meddle: str) -> None:
    make_repository(lab.repo)
    ran = lab.run(
        stream(
            "core",
            task("one", "echo more >> a.txt"),
            task("two", meddle + "echo more >> b.txt", depends_on=["one"]),
        )
    )
    assert ran.state == "succeeded", ran.summary
    assert (lab.show("a.txt"), lab.show("b.txt")) == ("a\nmore", "b\nmore")
    commits = {entry.commit_sha for entry in ran.ledger(state="committed")}
    assert commits == set(lab.git("log", "-2", "--format=%H", "main").split())


@pytest.mark.parametrize("meddle", [TO_MAIN, DELETE], ids=["moved", "deleted"])
def test_a_branch_that_is_meddled_with_after_its_last_commit_lands_whole(
    lab: Lab, meddle: str
) -> None:
    make_repository(lab.repo)
    ran = lab.run(
        stream(
            "core",
            task("one", "echo more >> a.txt"),
            task("last", meddle, depends_on=["one"], tool_on_no_change="complete"),
        )
    )
    assert ran.state == "succeeded", ran.summary
    assert lab.show("a.txt") == "a\nmore"


def test_a_patch_that_would_follow_a_renamed_file_out_of_its_scope_does_not_land(
    lab: Lab,
) -> None:
    make_repository(lab.repo, {"src/a.txt": "one\ntwo\nthree\n", "b.txt": "b\n"})
    mark = lab.folder / "renamed"
    ran = lab.run(
        stream(
            "core",
            task(
                "rename",
                f"mkdir new; mv src/a.txt new/a.txt; until [ -e {mark} ]; do sleep 0.01; done",
                files_scope=["src/**"],
                files_create=["new/**"],
            ),
            task(
                "edit",
                f"echo tail >> src/a.txt; touch {mark}; "
                f"until git --git-dir {lab.repo}/.git log --all --format=%s | grep -q 'Do rename'; "
                "do sleep 0.01; done",
                files_scope=["src/**"],
                critical=False,
            ),
        ),
        policy={"allow_noncritical_failures": True},
    )
    assert ran.tasks == {"core/rename": "completed", "core/edit": "failed"}
    assert ran.refusals("core/edit") == {"conflict"}
    assert lab.show("new/a.txt") == "one\ntwo\nthree"


def test_a_history_that_differs_from_the_ledger_is_refused(lab: Lab) -> None:
    make_repository(lab.repo)
    ran = lab.run(
        stream("core", task("one", "echo more >> a.txt")),
        target="elsewhere",
    )
    row = ran.workstream("core")
    branches = WorkstreamBranches(lab.store, Repository.open(lab.repo, lab.home.root))
    branches.check(row, row.head_commit)
    with pytest.raises(BranchDisagrees, match=f"missing commits {row.head_commit}"):
        branches.check(row, row.base_commit)


def test_the_head_of_a_run_is_where_its_target_stands(lab: Lab) -> None:
    make_repository(lab.repo)
    before = lab.head()
    failed = lab.run(stream("core", task("one", "exit 1")))
    assert (failed.state, failed.summary["head"]) == ("failed", before)
    nothing = lab.run(stream("core", task("one", "true", tool_on_no_change="complete")))
    assert (nothing.state, nothing.summary["head"]) == ("succeeded", before)
    absent = lab.run(
        stream("core", task("one", "true", tool_on_no_change="complete")), target="new"
    )
    assert (absent.state, absent.summary["head"]) == ("succeeded", None)
