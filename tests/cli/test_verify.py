"""`patchline verify`: which commit is meant, what is said, and that nothing is written."""

import shutil
from pathlib import Path

import pytest

from tests.cli.shell import Shell


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A run of which everything has landed; tests only read it."""
    shell = Shell(tmp_path_factory.mktemp("verify") / "work")
    shell.folder.mkdir()
    shell.make_repo()
    assert shell.run("run", shell.plan()).code == 0
    return shell


@pytest.fixture
def shell(template: Shell) -> Shell:
    return template


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its content, but for those that SQLite makes and removes.

    The times are left out: git sets that of an object which it would have had to write.
    """
    found = (path for path in folder.rglob("*") if not path.is_symlink() and path.is_file())
    return {
        str(path): path.read_bytes() for path in found if not path.name.endswith(("-wal", "-shm"))
    }


def test_a_commit_is_proven_part_by_part(shell: Shell) -> None:
    done = shell.run("verify", "main", "--json")
    assert done.code == 0
    assert list(done.json) == ["commit", "ledger_id", "verified", "parts"]
    assert done.json["commit"] == shell.git("rev-parse", "main")
    assert done.json["verified"] is True
    assert all(list(one) == ["part", "ok", "message"] for one in done.json["parts"])
    page = shell.run("verify", "main").out
    assert len(page.splitlines()) == len(done.json["parts"]) + 1
    assert page.splitlines()[-1].endswith("is proven.")


def test_short_names_branches_and_expressions_mean_commits(shell: Shell) -> None:
    whole = shell.git("rev-parse", "main")
    for revision in (whole, whole[:9], "main", "HEAD", "main~0", "refs/heads/main"):
        assert shell.run("verify", revision, "--json").json["commit"] == whole
    assert shell.run("verify", whole, "--repo", "repo").code == 0


def test_every_landed_commit_is_proven(shell: Shell) -> None:
    commits = shell.git("rev-list", "--topo-order", "main").split()
    codes = [shell.run("verify", commit).code for commit in commits]
    assert codes == [0] * (len(commits) - 1) + [1], "all but the first, which a person made"


def test_a_commit_of_a_person_is_told_in_plain_words(shell: Shell) -> None:
    first = shell.git("rev-list", "--max-parents=0", "main")
    done = shell.run("verify", first)
    assert done.code == 1
    assert "was not landed by it" in done.out
    document = shell.run("verify", first, "--json")
    assert (document.code, document.json["ledger_id"], document.json["verified"]) == (
        1,
        None,
        False,
    )


def test_what_is_no_commit_is_bad_usage(shell: Shell) -> None:
    for words in (("nowhere",), ("nowhere", "--repo", "repo"), ("--", "-x")):
        assert shell.run("verify", *words).code == 2
    assert "nowhere" in shell.run("verify", "nowhere", "--json").error["message"]


def test_an_unfit_environment_is_told_apart(shell: Shell, tmp_path: Path) -> None:
    assert shell.run("verify", "main", "--repo", str(tmp_path)).code == 3
    elsewhere = {"PATCHLINE_HOME": str(tmp_path / "none")}
    assert shell.run("verify", "main", env=elsewhere).code == 3


def test_a_moved_repository_is_found_by_its_name(shell: Shell, tmp_path: Path) -> None:
    shutil.copytree(shell.repo, tmp_path / "moved")
    assert shell.run("verify", "main", "--repo", str(tmp_path / "moved")).code == 0


def test_nothing_is_written(shell: Shell) -> None:
    before = files(shell.folder)
    assert shell.run("verify", "main").code == 0
    assert shell.run("verify", "main~1").code in (0, 1)
    assert files(shell.folder) == before


def test_what_a_forger_writes_reaches_no_terminal_raw(shell: Shell) -> None:
    text = "x\n\nPatchline-Run: run_x\nPatchline-Ledger: led_\x1b[31m\u202e\n"
    forged = shell.git("commit-tree", "main^{tree}", "-p", "main", "-m", text)
    done = shell.run("verify", forged)
    assert done.code == 1
    assert "\x1b" not in done.out
    assert "\u202e" not in done.out
