"""What a good run leaves behind in the repository."""

import pytest

from tests.pipeline.lab import Lab, git, make_repository, stream, task, write


def test_every_patch_is_one_commit_and_a_clean_checkout_moves_along(lab: Lab) -> None:
    make_repository(lab.repo)
    write(lab.repo, {"notes.txt": "mine\n"})
    before = lab.head()
    ran = lab.run(
        stream(
            "core",
            task("one", "echo more >> a.txt"),
            task("two", "echo more >> b.txt"),
            task("last", "cat a.txt b.txt > c.txt", depends_on=["one", "two"]),
        ),
        stream("docs", task("one", "echo docs > docs.txt")),
        stream("after", task("one", "cat c.txt docs.txt > d.txt"), depends_on=["core", "docs"]),
    )
    assert ran.state == "succeeded"
    assert set(ran.tasks.values()) == {"completed"}
    assert len(ran.ledger(state="committed")) == 5
    assert lab.show("d.txt") == "a\nmore\nb\nmore\ndocs"
    assert (lab.repo / "d.txt").read_text() == "a\nmore\nb\nmore\ndocs\n"
    assert (lab.repo / "notes.txt").read_text() == "mine\n"
    assert lab.git("status", "--porcelain") == "?? notes.txt"
    assert ran.summary["head"] == lab.head()
    assert lab.git("merge-base", before, "main") == before
    assert git(lab.repo, "for-each-ref", "refs/heads/patchline") == ""


def test_a_target_that_does_not_exist_is_made_and_the_checkout_is_left_alone(lab: Lab) -> None:
    make_repository(lab.repo)
    before = lab.head()
    streams = [stream("core", task("one", "echo more >> a.txt"))]
    ran = lab.run(*streams, target="results/first")
    assert ran.state == "succeeded"
    assert lab.show("a.txt", "results/first") == "a\nmore"
    assert lab.head() == before
    assert lab.git("status", "--porcelain") == ""

    again = lab.run(stream("core", task("one", "echo more >> b.txt")), target="results/first")
    assert again.state == "succeeded"
    assert lab.show("b.txt", "results/first") == "b\nmore"
    assert lab.show("a.txt", "results/first") == "a\nmore"
    assert (lab.repo / "a.txt").read_text() == "a\n"


@pytest.mark.parametrize(
    ("path", "said", "judged"),
    [
        ("new.txt", "untracked files in the way (new.txt)", False),
        ("b.txt", "local changes (b.txt)", False),
        ("new.txt", "untracked files in the way (new.txt)", True),
    ],
)
def test_a_persons_work_is_seen_before_the_merge_is_judged_and_after(
    lab: Lab, path: str, said: str, judged: bool
) -> None:
    """The person writes while the task is at work, or while the gates judge the merge."""
    make_repository(lab.repo)
    before, mine = lab.head(), f"echo mine > '{lab.repo}/{path}'; "
    work = task("do", f"{'' if judged else mine}echo ours > new.txt", gates=["ok"])
    gate = {"command": ["sh", "-c", mine if judged else "true"]}
    ran = lab.run(stream("core", work, gates=["merge"]), gates={"merge": gate})
    assert (ran.state, lab.head()) == ("failed", before)
    assert said in ran.workstream("core").reason
    assert [gate.state for gate in ran.gates(role="workstream")] == ["PASSED"] * judged
    assert (lab.repo / path).read_text() == "mine\n"
