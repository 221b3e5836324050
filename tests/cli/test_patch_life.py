"""`patch show`, `patch drop`, `patch replace`, and the quarantine in `list patches`."""

import subprocess
from functools import partial
from typing import Any

import pytest

from state.crash_points import arm
from tests.cli.shell import DEADLINE_SEC, Shell, patchline, script
from tests.forks import fork

BAD = r"printf 'bad \033[31m\342\200\256\n' > a.txt"
GOOD = "grep -q good a.txt || { echo 'a.txt is not good'; exit 1; }"

PUSH = 'test ! -e "$0/push" || { . "$0/push"; rm "$0/push"; }'


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A run whose task `a/one` was refused by the gate `good`, and a copy of all of it."""
    shell = Shell(tmp_path_factory.mktemp("quarantine") / "work")
    shell.folder.mkdir()
    shell.make_repo()
    plan = shell.plan(
        tools={"bad": script(BAD), "fine": script("echo fine > b.txt")},
        defaults={"max_retries": 0},
        gates={"good": script(GOOD), "ok": {"command": ["sh", "-c", PUSH, "{plan_dir}"]}},
        workstreams=[
            {
                "id": "a",
                "gates": ["ok"],
                "tasks": [{"id": "one", "tool": "bad", "gates": ["good"]}],
            },
            {"id": "b", "gates": ["ok"], "tasks": [{"id": "two", "tool": "fine"}]},
        ],
    )
    assert shell.run("run", plan).code == 1
    shell.keep()
    return shell


@pytest.fixture
def shell(template: Shell) -> Shell:
    """The folder as the run has left it: at its own place, which the state knows."""
    template.restore()
    return template


@pytest.fixture
def refused(shell: Shell) -> str:
    """The id of the quarantined ledger entry."""
    (entry,) = entries(shell, state="quarantined")
    return entry.ledger_id


def patch_file(shell: Shell, text: str, file: str = "a.txt") -> str:
    """A patch of a person who writes `text` to a file of the target; its path."""
    clone = shell.folder / "clone"
    if not clone.exists():
        subprocess.run(["git", "clone", "-q", str(shell.repo), str(clone)], check=True)
    subprocess.run(["git", "pull", "-q"], cwd=clone, check=True)
    (clone / file).write_text(text)
    subprocess.run(["git", "add", "-A"], cwd=clone, check=True)
    made = subprocess.run(["git", "diff", "--cached"], cwd=clone, check=True, capture_output=True)
    subprocess.run(["git", "reset", "-q", "--hard"], cwd=clone, check=True)
    path = shell.folder / "mended.patch"
    path.write_bytes(made.stdout)
    return str(path)


def entries(shell: Shell, **filters: Any) -> list[Any]:
    with shell.store() as store:
        return store.find("patch_ledger", **filters)


def state_of(shell: Shell, ledger_id: str) -> str:
    (entry,) = entries(shell, ledger_id=ledger_id)
    return entry.state


def nothing_is_left(shell: Shell) -> None:
    """No sandbox, no half-way row, no lock."""
    with shell.store() as store:
        assert {row.state for row in store.find("uet_worker")} == {"TERMINATED"}
        assert not [row for row in store.find("test_gate") if row.state == "RUNNING"]
    worktrees = shell.home.worktrees
    assert not worktrees.exists() or not list(worktrees.iterdir())
    assert not list((shell.home.root / "locks").iterdir())


# -- the quarantine and one patch of it ------------------------------------------------------------


def test_the_quarantine_says_whose_since_when_which_gate_and_what_next(
    shell: Shell, refused: str
) -> None:
    (row,) = shell.run("list", "patches", "--state", "quarantined", "--json").json
    assert row["ledger_id"] == refused
    assert (row["task"], row["tool"], row["gate"]) == ("a/one", "bad", "good")
    assert row["quarantine_reason"] == "gate good failed with exit code 1"
    assert row["next"] == [
        f"patch show {refused}",
        f"patch replace {refused} FILE",
        f"patch drop {refused} --reason WHY",
    ]
    page = shell.run("list", "patches", "--state", "quarantined").out
    for part in ("a/one", "bad", refused, "good", row["quarantined_at"][:19], "patch replace"):
        assert part in page


def test_a_patch_is_shown_whole(shell: Shell, refused: str) -> None:
    document = shell.run("patch", "show", refused, "--json").json
    assert document["state"] == "quarantined"
    assert [one["path"] for one in document["effects"]] == ["a.txt"]
    assert [(one["name"], one["state"]) for one in document["gates"]] == [("good", "FAILED")]
    assert [one["to_state"] for one in document["history"]][-1] == "quarantined"
    assert document["diff"].startswith("diff --git a/a.txt b/a.txt")
    page = shell.run("patch", "show", refused[:20]).out
    assert "  a.txt is not good" in page
    assert "-one" in page


def test_what_a_tool_wrote_reaches_no_terminal_raw(shell: Shell, refused: str) -> None:
    page = shell.run("patch", "show", refused).out
    assert r"+bad \x1b[31m\u202e" in page
    assert "\x1b" not in page
    assert "\u202e" not in page


def test_a_landed_patch_is_found_by_its_commit_and_says_where_it_is(
    shell: Shell, refused: str
) -> None:
    commit = shell.git("rev-parse", "main")
    page = shell.run("patch", "show", commit[:8])
    assert page.code == 0
    assert f"Commit {commit} is on main." in page.out
    assert f"patchline verify {commit}" in page.out
    assert shell.run("patch", "show", "led_nobody").code == 2
    several = shell.run("patch", "show", "led_")
    assert several.code == 2
    assert "may mean 2 patches" in several.err


# -- drop ------------------------------------------------------------------------------------------


def test_a_quarantined_patch_is_dropped_by_somebody_for_a_reason(
    shell: Shell, refused: str
) -> None:
    assert shell.run("patch", "drop", refused).code == 2
    done = shell.run("patch", "drop", refused, "--reason", "of no use", "--operator", "ann")
    assert done.code == 0
    (entry,) = entries(shell, ledger_id=refused)
    assert (entry.state, entry.drop_reason) == ("dropped", "of no use")
    last = shell.run("patch", "show", refused, "--json").json["history"][-1]
    assert (last["operator"], last["event_type"]) == ("ann", "manual_override")
    again = shell.run("patch", "drop", refused, "--reason", "x", "--json")
    assert again.code == 1
    assert "dropped (of no use), not quarantined" in again.error["message"]


def test_a_landed_patch_is_not_dropped_but_rolled_back(shell: Shell, refused: str) -> None:
    (landed,) = entries(shell, state="committed")
    done = shell.run("patch", "drop", landed.ledger_id, "--reason", "x")
    assert done.code == 1
    assert f"patchline rollback {landed.ledger_id}" in done.err


# -- replace ---------------------------------------------------------------------------------------


def test_a_replacement_lands_on_the_target_and_drops_what_it_replaces(
    shell: Shell, refused: str
) -> None:
    before = shell.git("rev-parse", "main")
    words = ("patch", "replace", refused, patch_file(shell, "good\n"), "--operator", "ann")
    done = shell.run(*words, "--json")
    assert done.code == 0, done
    commit = done.json["commit_sha"]
    assert shell.git("rev-parse", "main") == commit
    assert shell.git("rev-parse", "main^") == before
    assert (shell.repo / "a.txt").read_text() == "good\n", "the checkout moves along"
    (new,) = entries(shell, ledger_id=done.json["ledger_id"])
    assert (new.state, new.replaces, new.commit_sha) == ("committed", refused, commit)
    assert state_of(shell, refused) == "dropped"
    with shell.store() as store:
        patch = store.get("patch", new.patch_id)
        (old,) = entries(shell, ledger_id=refused)
        assert (patch.origin, patch.replaces_patch_id) == ("replacement", old.patch_id)
        gates = store.find("test_gate", ledger_id=new.ledger_id)
        assert {gate.name for gate in gates} == {"good", "ok"}
    assert f"Patchline-Replaces: {refused}" in shell.git("log", "-1", "--format=%B")
    proof = shell.run("verify", "main", "--json")
    assert proof.code == 0, proof.out
    assert shell.run("audit", "verify").code == 0
    nothing_is_left(shell)
    again = shell.run(*words)
    assert again.code == 1
    assert "not quarantined" in again.err


def test_a_replacement_that_breaks_the_rules_leaves_no_trace(shell: Shell, refused: str) -> None:
    before = len(entries(shell))
    path = patch_file(shell, "[tool]\n", "pyproject.toml")
    done = shell.run("patch", "replace", refused, path, "--json")
    assert done.code == 1
    assert done.json["state"] == "rejected"
    assert [one["code"] for one in done.json["reasons"]] == ["protected"]
    assert len(entries(shell)) == before
    assert state_of(shell, refused) == "quarantined"
    nothing_is_left(shell)


def test_a_replacement_that_a_gate_refuses_does_not_land(shell: Shell, refused: str) -> None:
    before = shell.git("rev-parse", "main")
    done = shell.run("patch", "replace", refused, patch_file(shell, "poor\n"))
    assert done.code == 1
    assert "a.txt is not good" in done.out
    assert shell.git("rev-parse", "main") == before
    assert state_of(shell, refused) == "quarantined"
    (own,) = entries(shell, replaces=refused)
    assert own.state == "quarantined"
    done = shell.run("patch", "replace", refused, patch_file(shell, "good\n"))
    assert done.code == 0
    assert state_of(shell, own.ledger_id) == "dropped", "it is replaced as well"


def test_a_replacement_must_fit_the_target(shell: Shell, refused: str) -> None:
    path = patch_file(shell, "good\n")
    (shell.repo / "a.txt").write_text("else\n")
    shell.git("commit", "-qam", "else")
    done = shell.run("patch", "replace", refused, path, "--json")
    assert done.code == 1
    assert [one["code"] for one in done.json["reasons"]] == ["conflict"]


def test_a_target_that_moves_meanwhile_is_built_upon(shell: Shell, refused: str) -> None:
    """A person pushes while the gates run: nothing of it is lost, and it is judged anew."""
    path = patch_file(shell, "good\n")
    push = shell.folder / "push"
    push.write_text(f"(cd {shell.repo} && git commit -q --allow-empty -m 'from a person')\n")
    done = shell.run("patch", "replace", refused, path, "--json")
    assert done.code == 0, done
    assert not push.exists()
    assert shell.git("log", "-1", "--format=%s", "main^") == "from a person"
    own = entries(shell, replaces=refused)
    assert [one.state for one in own] == ["dropped", "committed"]
    assert own[-1].ledger_id == done.json["ledger_id"]
    assert shell.run("verify", "main").code == 0
    assert state_of(shell, refused) == "dropped"


def test_a_dirty_checkout_of_the_target_is_refused_before_anything_is_recorded(
    shell: Shell, refused: str
) -> None:
    path = patch_file(shell, "good\n")
    (shell.repo / "a.txt").write_text("my work\n")
    before = len(entries(shell))
    done = shell.run("patch", "replace", refused, path)
    assert done.code != 0
    assert "local changes" in done.err
    assert len(entries(shell)) == before
    assert (shell.repo / "a.txt").read_text() == "my work\n"
    nothing_is_left(shell)


def test_only_the_quarantine_is_replaced(shell: Shell, refused: str) -> None:
    (landed,) = entries(shell, state="committed")
    path = patch_file(shell, "good\n")
    done = shell.run("patch", "replace", landed.ledger_id, path)
    assert done.code == 1
    assert "is committed, not quarantined" in done.err
    assert shell.run("patch", "replace", refused, str(shell.folder / "none")).code == 2


def test_a_run_that_has_not_ended_keeps_its_quarantine(shell: Shell) -> None:
    with shell.store() as store:
        run = store.create("run")
        ws = store.create("workstream", run_id=run.run_id)
        task = store.create("task", workstream_id=ws.ws_id)
        entry = store.create("patch_ledger", task_id=task.task_id, workstream_id=ws.ws_id)
        store.transition("patch_ledger", entry.ledger_id, "quarantined", quarantine_reason="no")
    done = shell.run("patch", "replace", entry.ledger_id, patch_file(shell, "good\n"))
    assert done.code == 3
    assert f"patchline resume {run.run_id}" in done.err


# -- a process that dies ---------------------------------------------------------------------------


def dying(point: str, words: list[str]) -> int:
    arm(point)
    return patchline(words)


POINTS = (
    "replacement-written",
    "replacement-recorded",
    "gate-opened",
    "patch-applied",
    "gates-passed",
    "commit-written",
    "landing-intended",
    "branch-moved",
    "patch-committed",
)


@pytest.mark.parametrize("point", POINTS)
def test_asking_again_finishes_what_a_dead_process_began(
    shell: Shell, refused: str, point: str
) -> None:
    words = ["patch", "replace", refused, patch_file(shell, "good\n")]
    process = fork(partial(dying, point, words), shell.folder, shell.environment())
    process.join(DEADLINE_SEC)
    assert process.exitcode == -9, f"it did not pass {point}"
    done = shell.run(*words)
    landed = point == "patch-committed"
    assert done.code == (1 if landed else 0), done
    assert state_of(shell, refused) == "dropped"
    (own,) = [one for one in entries(shell, replaces=refused) if one.state == "committed"]
    assert shell.git("rev-parse", "main") == own.commit_sha
    assert shell.git("log", "--format=%s", "main").splitlines().count("a/one") == 1
    assert (shell.repo / "a.txt").read_text() == "good\n"
    assert shell.git("status", "--porcelain") == ""
    assert {one.state for one in entries(shell)} <= {"committed", "dropped"}
    assert shell.run("verify", "main").code == 0
    assert shell.run("audit", "verify").code == 0


def test_dropping_after_a_dead_replacement_settles_it_first(shell: Shell, refused: str) -> None:
    words = ["patch", "replace", refused, patch_file(shell, "good\n")]
    process = fork(partial(dying, "landing-intended", words), shell.folder, shell.environment())
    process.join(DEADLINE_SEC)
    before = shell.git("rev-parse", "main")
    assert shell.run("patch", "drop", refused, "--reason", "neither of them").code == 0
    assert {one.state for one in entries(shell)} == {"committed", "dropped"}
    assert shell.git("rev-parse", "main") == before
