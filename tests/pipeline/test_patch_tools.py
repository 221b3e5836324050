"""Tools of kind `patch`: a task's patch comes from a file, and is judged and landed like any."""

import os
from pathlib import Path
from typing import Any

import pytest

from pipeline_defs.preflight import check_commands
from state.errors import PreflightError
from tests.pipeline.lab import Lab, git, make_repository, stream

TOLERANT = {"policy": {"allow_noncritical_failures": True}}


def made(repo: Path, path: str, text: str) -> bytes:
    """A patch as a person makes it: an edit, `git diff`, and the edit taken back."""
    target = repo / path
    old = target.read_bytes() if target.exists() else None
    target.parent.mkdir(exist_ok=True)
    target.write_text(text)
    git(repo, "add", "--intent-to-add", "--", path)
    patch = git(repo, "diff", "--", path) + "\n"
    git(repo, "reset", "-q")
    if old is None:
        target.unlink()
    else:
        target.write_bytes(old)
    return patch.encode()


def patch_task(name: str, file: str, **more: Any) -> dict[str, Any]:
    tool = {"kind": "patch", "file": file}
    tool |= {k.removeprefix("tool_"): more.pop(k) for k in list(more) if k.startswith("tool_")}
    return {"id": name, "title": f"Do {name}", "_tool": tool, **more}


@pytest.fixture
def with_repo(lab: Lab) -> Lab:
    make_repository(lab.repo)
    return lab


def test_patches_from_files_land_like_those_of_commands(with_repo: Lab) -> None:
    lab = with_repo
    patches = lab.folder / "patches/core"
    patches.mkdir(parents=True)
    (patches / "one").write_bytes(made(lab.repo, "a.txt", "better\n"))
    (lab.folder / "two.patch").write_bytes(made(lab.repo, "new.txt", "new\n"))
    ran = lab.run(
        stream(
            "core",
            patch_task("one", "{plan_dir}/patches/{task}"),
            patch_task("two", "two.patch", depends_on=["one"]),
        )
    )
    assert ran.state == "succeeded", ran.summary["tasks"]
    assert lab.show("a.txt") == "better"
    assert lab.show("new.txt") == "new"
    (attempt,) = ran.attempts("core/one")
    assert attempt.exit_code is None
    assert "accept" in attempt.output


def test_a_refused_patch_is_quarantined_with_every_reason(with_repo: Lab) -> None:
    lab = with_repo
    (lab.folder / "setup.patch").write_bytes(made(lab.repo, "setup.py", "x = 1\n"))
    (lab.folder / "cut.patch").write_bytes(made(lab.repo, "a.txt", "better\n")[:-3])
    stale = made(lab.repo, "a.txt", "b\n") + made(lab.repo, "b.txt", "c\n")
    (lab.folder / "stale.patch").write_bytes(
        stale.replace(b"\n-a\n", b"\n-z\n").replace(b"\n-b\n", b"\n-z\n")
    )
    (lab.folder / "empty.patch").write_bytes(b"")
    with (lab.folder / "huge.patch").open("wb") as huge:
        huge.truncate(1 << 30)
    names = ["setup", "cut", "stale", "empty", "huge"]
    tasks = [patch_task(name, f"{name}.patch", critical=False) for name in names]
    tasks[0]["files_scope"] = ["src/**"]
    ran = lab.run(stream("core", *tasks, critical=False), **TOLERANT)
    refusals = {name: ran.refusals(f"core/{name}") for name in names}
    assert refusals == {
        "setup": {"protected", "out_of_scope"},
        "cut": {"malformed"},
        "stale": {"conflict"},
        "empty": {"empty"},
        "huge": {"oversize"},
    }
    (entry,) = ran.ledger("core/stale")
    assert {reason["path"] for reason in entry.reasons} == {"a.txt", "b.txt"}
    assert lab.show("a.txt") == "a"


def test_an_empty_file_is_fine_for_a_tool_that_need_not_change_anything(with_repo: Lab) -> None:
    lab = with_repo
    (lab.folder / "empty.patch").write_bytes(b"\n")
    ran = lab.run(stream("core", patch_task("do", "empty.patch", tool_on_no_change="complete")))
    assert ran.tasks == {"core/do": "completed"}
    assert not ran.ledger()


def test_each_attempt_may_have_a_file_of_its_own(with_repo: Lab) -> None:
    lab = with_repo
    good = made(lab.repo, "a.txt", "better\n")
    (lab.folder / "1.patch").write_bytes(good[:-3])
    (lab.folder / "2.patch").write_bytes(good)
    ran = lab.run(stream("core", patch_task("do", "{attempt}.patch", max_retries=1)))
    assert ran.state == "succeeded", ran.summary["tasks"]
    assert ran.task("core/do").attempts == 2


def test_a_file_that_is_gone_when_the_attempt_begins_is_not_waited_for(with_repo: Lab) -> None:
    lab = with_repo
    fifo = lab.folder / "fifo.patch"
    os.mkfifo(fifo)  # nobody will ever write to it
    ran = lab.run(stream("core", patch_task("do", "fifo.patch", max_retries=3)))
    assert ran.tasks == {"core/do": "failed"}
    assert ran.task("core/do").attempts == 1
    assert "not a regular file" in ran.task("core/do").reason


def test_a_run_is_refused_before_it_starts_when_a_patch_is_not_there(with_repo: Lab) -> None:
    plan = with_repo.register(stream("core", patch_task("do", "none.patch"))).plan
    with pytest.raises(PreflightError, match=r"tool core-do needs the patch file .*none\.patch"):
        check_commands(plan, with_repo.folder)
    (with_repo.folder / "none.patch").write_bytes(b"")
    check_commands(plan, with_repo.folder)
