"""Bad plans and unfit environments: what is refused, with which exit code, and nothing began."""

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.shell import Shell, example_plan, with_tool


def test_validate_prints_the_pinned_document(shell: Shell) -> None:
    result = shell.run("validate", shell.plan(), "--json")
    assert result.code == 0
    assert result.json == {
        "plan_id": "small",
        "workstreams": 2,
        "tasks": 3,
        "waves": [["a", "b"]],
        "scope_conflicts": result.json["scope_conflicts"],
        "errors": [],
        "warnings": result.json["warnings"],
    }
    assert result.json["scope_conflicts"], "both workstreams may change every file"


def test_validate_says_where_each_mistake_is(shell: Shell) -> None:
    path = Path(shell.plan())
    path.write_text(path.read_text().replace("depends_on", "dependson"))
    line, text = next(
        (number, text)
        for number, text in enumerate(path.read_text().splitlines(), start=1)
        if "dependson" in text
    )
    result = shell.run("validate", str(path), "--json")
    assert result.code == 2
    (error,) = result.json["errors"]
    assert (error["file"], error["line"]) == (str(path), line)
    assert error["column"] == text.index("dependson") + 1
    assert "depends_on" in error["hint"]
    for command in ("validate", "run"):
        told = shell.run(command, str(path))
        assert told.code == 2
        assert f"{path}:{line}:{error['column']}: " in told.err
    assert shell.run("run", str(path), "--json").json == {"errors": [error]}
    assert not shell.home.root.exists()


def test_a_plan_that_is_not_there_is_bad_input(shell: Shell) -> None:
    result = shell.run("run", "no.yaml", "--json")
    assert result.code == 2
    assert result.error["file"] == "no.yaml"


def test_a_task_that_nothing_would_test_is_refused(shell: Shell) -> None:
    streams = example_plan(shell.folder)["workstreams"]
    del streams[1]["gates"]
    result = shell.run("run", shell.plan(workstreams=streams), "--json")
    assert result.code == 2
    assert "b/one" in result.error["message"]
    assert result.error["file"] == str(shell.folder / "plan.yaml")
    assert result.error["path"] == "workstreams[1].tasks[0]"
    assert result.error["line"] > 1
    assert not shell.home.root.exists()


def with_missing_tool(shell: Shell) -> dict[str, Any]:
    return {"tools": {"write": {"command": ["no-such-tool-at-all"]}}}


def without_repository(shell: Shell) -> dict[str, Any]:
    (shell.folder / "plain").mkdir()
    return {"repo": "plain"}


def with_missing_base(shell: Shell) -> dict[str, Any]:
    return {"base": "no-such-branch"}


def with_local_changes(shell: Shell) -> dict[str, Any]:
    (shell.repo / "a.txt").write_text("changed\n")
    return {}


def with_odd_target(shell: Shell) -> dict[str, Any]:
    return {"target": "a..b"}


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (with_missing_tool, "no-such-tool-at-all"),
        (without_repository, "plain"),
        (with_missing_base, "no-such-branch"),
        (with_local_changes, "a.txt"),
        (with_odd_target, "a..b"),
    ],
)
def test_an_unfit_environment_is_refused_in_one_line_before_anything_starts(
    shell: Shell, spoil: Any, named: str
) -> None:
    path = shell.plan(**spoil(shell))
    refs = shell.git("for-each-ref")
    result = shell.run("run", path)
    assert (result.code, result.out) == (3, "")
    assert result.err.startswith("Error: ")
    assert result.err.count("\n") == 1
    assert named in result.err
    assert result.err.count(". ") == 1, "what happened, then how to mend it"
    assert shell.git("for-each-ref") == refs
    with shell.store() as store:
        assert store.find("run") == []


def test_a_home_that_cannot_be_written_is_refused(shell: Shell) -> None:
    (shell.folder / "file").write_text("in the way")
    env = {"PATCHLINE_HOME": str(shell.folder / "file" / "home")}
    for words in (["run", shell.plan()], ["plan", "add", shell.plan()], ["dev"]):
        result = shell.run(*words, env=env)
        assert (result.code, result.err.count("\n")) == (3, 1)
        assert "PATCHLINE_HOME" in result.err


def test_a_dry_run_says_what_would_run_and_changes_nothing(shell: Shell) -> None:
    streams = with_tool(example_plan(shell.folder), "a/two", "fail")
    path = shell.plan(workstreams=streams)
    before = shell.git("for-each-ref")
    document = shell.run("run", path, "--dry-run", "--json").json
    assert document["waves"] == [["a", "b"]]
    assert document["base_commit"] == shell.git("rev-parse", "main")
    two = document["workstreams"][0]["tasks"][1]
    assert (two["id"], two["tool"], two["depends_on"]) == ("a/two", "fail", ["a/one"])
    assert two["command"][0] == sys.executable
    assert "Nothing was run" in shell.run("run", path, "--dry-run").out
    assert shell.git("for-each-ref") == before
    assert not (shell.home.root / "pipeline.db").exists()
    assert not shell.home.plans.exists()


def test_options_win_over_the_plan(shell: Shell) -> None:
    shell.git("branch", "other")
    words = ("--repo", "repo", "--target", "landing", "--base", "other", "--max-concurrent", "7")
    path = shell.plan(repo="nowhere", base="nothing", target="main")
    document = shell.run("run", path, *words, "--dry-run", "--json").json
    assert Path(document["repo"]) == shell.repo
    assert (document["base"], document["target"]) == ("other", "landing")
    assert document["max_concurrent"] == 7


def test_plans_are_registered_and_listed(shell: Shell) -> None:
    assert shell.run("plan", "list", "--json").json == {"plans": [], "errors": []}
    (added,) = shell.run("plan", "add", shell.plan(), "--json").json["plans"]
    assert added["phase_id"] == f"small@{added['sha256'][:12]}"
    assert added["jobs"] == ["small", "small__a", "small__b"]
    assert shell.run("plan", "list", "--json").json["plans"] == [added]
    copy = shell.home.plans / "small" / f"{added['sha256']}.yaml"
    assert copy.read_bytes() == Path(added["source"]).read_bytes()


def test_one_bad_plan_among_many_registers_none(shell: Shell) -> None:
    (shell.folder / "bad.yaml").write_text("plan: BAD\n")
    result = shell.run("plan", "add", shell.plan(), "bad.yaml", "--json")
    assert result.code == 2
    assert {error["file"] for error in result.json["errors"]} == {"bad.yaml"}
    assert shell.run("plan", "list", "--json").json["plans"] == []
