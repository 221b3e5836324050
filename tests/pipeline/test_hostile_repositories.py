"""Repositories of every kind, and such as would run somebody's program if we let them."""

from pathlib import Path

import pytest

from pipeline_defs.preflight import check_environment
from state.errors import PreflightError
from tests.pipeline.lab import Lab, git, make_repository, stream, task, write


def script(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_no_program_that_the_repository_names_is_ever_run(lab: Lab) -> None:
    mark = lab.folder / "mark"
    make_repository(
        lab.repo,
        {"a.txt": "a\n", ".gitattributes": "* filter=evil diff=evil merge=evil\n", "b.txt": "b\n"},
    )
    before = lab.head()
    leave = f'echo "$0 $*" >> {mark}; cat'
    hooks = (
        "pre-commit",
        "commit-msg",
        "post-commit",
        "reference-transaction",
        "post-checkout",
        "post-index-change",
        "pre-merge-commit",
        "post-merge",
        "update",
        "post-update",
    )
    other = lab.folder / "other-hooks"
    for name in hooks:
        script(lab.repo / ".git/hooks" / name, f"echo hook {name} >> {mark}")
        script(other / name, f"echo other {name} >> {mark}")
    evil = script(lab.folder / "evil", leave)
    for key in (
        "filter.evil.clean",
        "filter.evil.smudge",
        "diff.evil.textconv",
        "diff.evil.command",
        "merge.evil.driver",
        "core.fsmonitor",
        "core.pager",
        "core.editor",
        "gpg.program",
        "diff.external",
        "core.sshCommand",
        "core.askPass",
    ):
        lab.git("config", key, evil)
    lab.git("config", "filter.evil.required", "true")
    lab.git("config", "core.hooksPath", str(other))
    lab.git("config", "commit.gpgSign", "true")
    ran = lab.run(
        stream("one", task("do", "echo x >> a.txt")),
        stream("two", task("do", "sed -i '1i top' b.txt")),
        stream("three", task("do", "echo bottom >> b.txt; echo x > new.txt")),
    )
    assert not mark.exists(), mark.read_text()
    assert ran.state == "succeeded", ran.summary
    lab.git("config", "--remove-section", "filter.evil")
    assert lab.git("-c", "core.fsmonitor=false", "status", "--porcelain") == ""
    assert git(lab.repo, "diff", "--no-ext-diff", "--name-only", before, "main").split() == [
        "a.txt",
        "b.txt",
        "new.txt",
    ]


def test_a_checkout_with_converted_line_ends_moves_along_and_stays_clean(lab: Lab) -> None:
    make_repository(lab.repo)
    lab.git("config", "core.autocrlf", "true")
    lab.git("rm", "-q", "-r", "--cached", ".")
    lab.git("reset", "-q", "--hard")
    assert (lab.repo / "a.txt").read_bytes() == b"a\r\n"
    ran = lab.run(stream("core", task("do", "echo more >> a.txt")))
    assert ran.state == "succeeded", ran.summary
    assert lab.git("cat-file", "-p", "main:a.txt") == "a\nmore"
    assert (lab.repo / "a.txt").read_bytes() == b"a\r\nmore\r\n"
    assert lab.git("status", "--porcelain") == ""


@pytest.mark.parametrize("kind", ["linked worktree", "bare", "sha256"])
def test_every_kind_of_repository_can_be_worked_on(lab: Lab, kind: str) -> None:
    make_repository(lab.repo, object_format="sha256" if kind == "sha256" else "sha1")
    repo = lab.repo
    if kind == "linked worktree":
        repo = lab.folder / "linked"
        lab.git("checkout", "-q", "-b", "elsewhere")
        lab.git("worktree", "add", "-q", str(repo), "main")
    elif kind == "bare":
        repo = lab.folder / "bare.git"
        lab.git("clone", "-q", "--bare", ".", str(repo))
    ran = lab.run(stream("core", task("do", "echo more >> src/one.py")), repo=repo)
    assert ran.state == "succeeded", ran.summary
    assert git(repo, "show", "main:src/one.py").endswith("\nmore")
    if kind == "bare":
        assert "more" not in lab.show("src/one.py")
        return
    assert (repo / "src/one.py").read_text() == "x = 1\nmore\n"
    assert git(repo, "status", "--porcelain") == ""


def test_an_unfit_repository_is_refused_before_anything_is_written(lab: Lab) -> None:
    make_repository(lab.repo)
    revision = lab.register(stream("core", task("do", "echo more >> a.txt")))
    cases = {
        "no such folder": {"repo": str(lab.folder / "nowhere")},
        "is no revision": {"base": "no-such-branch"},
    }
    for said, arguments in cases.items():
        with pytest.raises(PreflightError, match=said):
            check_environment(lab.home, revision, **arguments)
    plain = lab.folder / "plain"
    plain.mkdir()
    with pytest.raises(PreflightError, match="is not a git repository"):
        check_environment(lab.home, revision, repo=str(plain))
    write(lab.repo, {"a.txt": "edited\n"})
    with pytest.raises(PreflightError, match=r"local changes \(a.txt\)"):
        check_environment(lab.home, revision)
    assert not lab.store.find("run")
