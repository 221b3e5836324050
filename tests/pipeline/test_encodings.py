"""Files that are not in the encoding that the repository's attributes name for them."""

from tests.pipeline.lab import Lab, lines, make_repository, stream, task


def repository_with(lab: Lab, attributes: str) -> None:
    """`x.txt` and `a.txt` on main, which nobody has checked out, with these attributes."""
    make_repository(lab.repo, {"x.txt": "x\n", "a.txt": "a\n"})
    lab.git("checkout", "-q", "--detach")
    blob = lab.git("hash-object", "-w", "--stdin", stdin=f"{attributes}\n")
    entries = f"{lab.git('ls-tree', 'main')}\n100644 blob {blob}\t.gitattributes\n"
    tree = lab.git("mktree", stdin=entries)
    commit = lab.git("commit-tree", "-p", "main", "-m", "attributes", tree)
    lab.git("update-ref", "refs/heads/main", commit)


def test_a_file_whose_encoding_does_not_exist_is_refused_by_its_name(lab: Lab) -> None:
    repository_with(lab, "x.txt working-tree-encoding=BOGUS")
    before = lab.head()
    ran = lab.run(stream("core", task("do", "echo more >> x.txt")))
    assert (ran.state, lab.head()) == ("failed", before)
    assert ran.refusals("core/do") == {"attributes"}
    (entry,) = ran.ledger(state="quarantined")
    assert [reason["path"] for reason in entry.reasons] == ["x.txt"]
    reason = ran.task("core/do").reason
    assert "cannot read x.txt as BOGUS, which .gitattributes names" in reason
    assert "GitError" not in reason
    (attempt,) = ran.attempts("core/do")
    assert attempt.exit_code == 0, "what is known of the tool's run is kept"


def test_a_tool_that_writes_another_encoding_is_told_so_and_may_do_better(lab: Lab) -> None:
    repository_with(lab, "x.txt working-tree-encoding=UTF-16")
    script = lines(
        'case "$PATCHLINE_FEEDBACK" in',
        "*'x.txt as UTF-16'*) printf 'better\\n' | iconv -f UTF-8 -t UTF-16 > x.txt ;;",
        "*) echo plain > x.txt ;;",
        "esac",
    )
    ran = lab.run(stream("core", task("do", script, max_retries=1)))
    assert ran.state == "succeeded", ran.summary
    assert [attempt.number for attempt in ran.attempts("core/do")] == [1, 2]
    assert lab.show("x.txt") == "better"


def test_attributes_that_git_itself_stumbles_over_are_named_at_once(lab: Lab) -> None:
    repository_with(lab, "x.txt working-tree-encoding")
    ran = lab.run(stream("core", task("do", "echo more >> a.txt", max_retries=3)))
    assert ran.state == "failed"
    assert len(ran.attempts("core/do")) == 1, "another attempt would end like the first"
    reason = ran.task("core/do").reason
    assert "a .gitattributes has a working-tree-encoding without a name" in reason
