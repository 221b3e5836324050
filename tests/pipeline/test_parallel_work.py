"""Tasks that work at the same time, and people who do."""

from tests.pipeline.lab import Lab, git, lines, make_repository, stream, task

TEN = "".join(f"line {number}\n" for number in range(10))


def meet(lab: Lab, name: str, *others: str) -> str:
    """A script that goes on when all have come this far: they all work on the same base."""
    waits = [f"while ! test -e {lab.folder}/met-{other}; do sleep 0.02; done" for other in others]
    return lines(f"touch {lab.folder}/met-{name}", *waits)


def test_patches_made_on_the_same_base_all_land_unless_they_change_the_same_lines(lab: Lab) -> None:
    make_repository(lab.repo, {"a.txt": "a\n", "b.txt": "b\n", "ten.txt": TEN})
    names = ("own", "top", "bottom", "same")
    scripts = {
        "own": "echo more >> b.txt",
        "top": "sed -i '1s/.*/top/' ten.txt",
        "bottom": "sed -i '10s/.*/bottom/' ten.txt",
        "same": "sed -i '1s/.*/same/' ten.txt",
    }
    slow = {"same": "sleep 0.5; ", "own": "", "top": "", "bottom": ""}
    ran = lab.run(
        stream(
            "core",
            *(
                task(
                    name, lines(meet(lab, name, *names), slow[name] + scripts[name]), max_retries=1
                )
                for name in names
            ),
        )
    )
    assert ran.state == "succeeded", ran.summary
    assert lab.show("b.txt") == "b\nmore"
    assert lab.show("ten.txt").splitlines()[-1] == "bottom"
    assert lab.show("ten.txt").splitlines()[0] == "same"
    refused, landed = ran.ledger("core/same")
    assert (refused.state, landed.state) == ("quarantined", "committed")
    assert ran.refusals("core/same") == {"conflict"}
    assert "ten.txt" in refused.quarantine_reason
    first, second = ran.attempts("core/same")
    assert first.base_commit != second.base_commit
    assert "ten.txt" in first.reason
    assert {row.attempts for row in map(ran.task, ["core/own", "core/top", "core/bottom"])} == {1}
    assert lab.git("rev-list", "--count", "--merges", "main") == "0"


def push(lab: Lab, path: str, text: str) -> str:
    """A script that commits on the target with plumbing, as a person's push does."""
    return lines(
        f"cd {lab.repo}",
        f"blob=$(printf '{text}\\n' | git hash-object -w --stdin)",
        "export GIT_INDEX_FILE=$(mktemp -u)",
        "git read-tree main",
        f"git update-index --add --cacheinfo 100644,$blob,{path}",
        "tree=$(git write-tree)",
        "rm $GIT_INDEX_FILE",
        "export GIT_AUTHOR_NAME=ann GIT_AUTHOR_EMAIL=a",
        "export GIT_COMMITTER_NAME=ann GIT_COMMITTER_EMAIL=a",
        "commit=$(git commit-tree -p main -m pushed $tree)",
        "git update-ref refs/heads/main $commit",
    )


def test_what_people_push_meanwhile_is_merged_with_and_never_overwritten(lab: Lab) -> None:
    make_repository(lab.repo)
    lab.git("checkout", "-q", "-b", "elsewhere")
    pushed, person = lab.folder / "pushed", push(lab, "during-gate.txt", "ann")
    once = f"test -e {pushed} || ( touch {pushed}\n{person}\n)"
    ran = lab.run(
        stream("tool", task("do", f"( {push(lab, 'during-tool.txt', 'ann')} ); echo x >> a.txt")),
        stream("gate", task("do", "echo x >> b.txt"), gates=["push"], depends_on=["tool"]),
        gates={"push": {"command": ["sh", "-c", once]}},
    )
    assert ran.state == "succeeded", ran.summary
    assert {"during-tool.txt", "during-gate.txt"} <= set(lab.files())
    assert (lab.show("a.txt"), lab.show("b.txt")) == ("a\nx", "b\nx")
    assert lab.git("log", "--first-parent", "--format=%s", "main").count("Merge workstream") == 2
    merged = [gate for gate in ran.gates(role="workstream") if gate.name == "push"]
    assert {gate.state for gate in merged} == {"PASSED"}
    assert merged[-1].tree == lab.git("rev-parse", "main^{tree}")


def test_a_push_that_conflicts_fails_the_workstream_and_stays(lab: Lab) -> None:
    make_repository(lab.repo)
    lab.git("checkout", "-q", "-b", "elsewhere")
    ran = lab.run(stream("core", task("do", f"( {push(lab, 'a.txt', 'ann')} ); echo x > a.txt")))
    assert ran.state == "failed"
    assert lab.show("a.txt") == "ann"
    assert "conflict with main in a.txt" in ran.workstream("core").reason


def test_a_checkout_that_people_edit_meanwhile_is_left_as_it_is(lab: Lab) -> None:
    make_repository(lab.repo, {"a.txt": "a\n", "b.txt": "b\n", ".gitignore": "*.secret\n"})
    before = lab.head()
    ran = lab.run(
        stream("edited", task("do", f"echo mine >> {lab.repo}/b.txt; echo x >> a.txt")),
    )
    assert (ran.state, lab.head()) == ("failed", before)
    assert "local changes (b.txt)" in ran.workstream("edited").reason
    assert (lab.repo / "b.txt").read_text() == "b\nmine\n"
    lab.git("checkout", "b.txt")

    (lab.repo / "new.txt").write_text("mine\n")
    (lab.repo / "new.secret").write_text("mine\n")
    ran = lab.run(stream("untracked", task("do", "echo x > new.txt")))
    assert (ran.state, lab.head()) == ("failed", before)
    assert "new.txt" in ran.workstream("untracked").reason
    ran = lab.run(
        stream("ignored", task("do", "echo '!new.secret' > .gitignore; echo x > new.secret"))
    )
    assert (ran.state, lab.head()) == ("failed", before)
    assert "new.secret" in ran.workstream("ignored").reason
    assert (lab.repo / "new.txt").read_text() == (lab.repo / "new.secret").read_text() == "mine\n"
    assert lab.git("status", "--porcelain") == "?? new.txt"


def test_workstreams_that_land_at_the_same_time_are_merged_one_after_the_other(lab: Lab) -> None:
    names = [f"s{number}" for number in range(6)]
    ran = lab.run(
        *(stream(name, task("do", f"echo {name} > {name}.txt")) for name in names),
        max_concurrent=6,
    )
    assert ran.state == "succeeded", ran.summary
    assert {f"{name}.txt" for name in names} <= set(lab.files())
    assert git(lab.repo, "status", "--porcelain") == ""
    merges = int(lab.git("rev-list", "--count", "--merges", "main"))
    assert merges == len(names) - 1, "all but the first need a merge"
