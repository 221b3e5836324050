"""`patchline audit`, as people and programs call it, on histories that somebody tampered with."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from resources.audit_anchor import AUDIT_REF
from state.queries import transitions_since
from state.store import StateStore
from tests.cli.shell import Shell

PROBLEM = [
    *("code", "message", "since", "entity_type", "entity_id", "transition_id", "event_id"),
    *("checkpoint_id", "repository"),
]


@pytest.fixture
def home(shell: Shell) -> Shell:
    """A home whose history has five rows, of a run in the shell's repository."""
    with shell.store() as store:
        store.create("run", run_id="run_1", repo=str(shell.repo))
        work(store, "bench")
    return shell


def work(store: StateStore, tool: str) -> None:
    """Four rows more for a breaker and a worker."""
    store.create("circuit_breaker", tool_id=tool)
    worker = store.create("worker", worker_id=f"wkr_{tool}").worker_id
    store.transition("worker", worker, "idle")
    store.transition("circuit_breaker", tool, "OPEN", reason="it failed too often")


def last_event(shell: Shell) -> str:
    with shell.store() as store:
        return transitions_since(store)[-1].event_id


def database(shell: Shell) -> Path:
    return shell.home.root / "pipeline.db"


def tamper(shell: Shell, *statements: str) -> None:
    """Run SQL as somebody would who took the triggers away first."""
    with closing(sqlite3.connect(database(shell))) as raw, raw:
        names = raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (name,) in names:
            raw.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            assert raw.execute(statement).rowcount != 0, statement


def codes(shell: Shell, *words: str) -> list[str]:
    """The codes that verification finds; it ends with 1 and says nothing besides."""
    done = shell.run("audit", "verify", "--json", *words)
    assert (done.code, done.err) == (1, "")
    assert list(done.json) == ["intact", "entries", "problems"]
    assert done.json["intact"] is False
    assert all(sorted(one) == sorted(PROBLEM) for one in done.json["problems"])
    return [one["code"] for one in done.json["problems"]]


# verify


def test_an_untouched_history_is_intact(home: Shell) -> None:
    before = {path: path.read_bytes() for path in home.folder.rglob("*") if path.is_file()}
    done = home.run("audit", "verify", "--json")
    assert (done.code, done.err) == (0, "")
    assert done.json == {"intact": True, "entries": 5, "problems": []}
    spoken = home.run("audit", "verify")
    assert (spoken.code, spoken.out) == (0, "The history is intact: 5 audit rows.\n")
    after = {path: path.read_bytes() for path in home.folder.rglob("*") if path.is_file()}
    assert {path.name: after[path] for path in before} == {
        path.name: data for path, data in before.items()
    }


def test_a_changed_row_is_told_with_its_place_and_time(home: Shell) -> None:
    tamper(home, "UPDATE state_transitions SET reason = 'all well' WHERE transition_id = 5")
    done = home.run("audit", "verify", "--json")
    assert (done.code, done.json["entries"]) == (1, 5)
    (problem,) = done.json["problems"]
    assert problem["code"] == "row_changed"
    assert (problem["entity_type"], problem["entity_id"]) == ("circuit_breaker", "bench")
    assert problem["transition_id"] == 5
    assert problem["since"] in problem["message"]
    spoken = home.run("audit", "verify")
    assert spoken.code == 1
    assert "row_changed: Audit row 5" in spoken.out
    assert "not intact" in spoken.out


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE state_transitions SET metadata = '{' WHERE transition_id = 5",
        "UPDATE state_transitions SET metadata = x'00ff' WHERE transition_id = 5",
        "UPDATE state_transitions SET event_id = CAST(x'63ff' AS TEXT) WHERE transition_id = 5",
        "UPDATE state_transitions SET hash = CAST(x'63ff' AS TEXT) WHERE transition_id = 2",
        "UPDATE runs SET repo = x'00ff', audit_head = 'x'",
        "UPDATE runs SET repo = CAST(x'63ff' AS TEXT), audit_head = 'x'",
        "UPDATE audit_checkpoints SET root = CAST(x'63ff' AS TEXT)",
        "UPDATE audit_checkpoints SET created_at = x'00ff'",
    ],
)
def test_nonsense_in_the_database_is_never_a_traceback(home: Shell, statement: str) -> None:
    assert home.run("audit", "checkpoint").code == 0
    tamper(home, statement)
    (home.home.events).unlink()
    assert codes(home)


def test_an_older_copy_of_the_database_is_told_by_newer_anchors(home: Shell) -> None:
    assert home.run("audit", "checkpoint").code == 0
    copy = home.folder / "copy.db"
    with closing(sqlite3.connect(database(home))) as source, closing(sqlite3.connect(copy)) as to:
        source.backup(to)
    with home.store() as store:
        work(store, "lathe")
    second = home.run("audit", "checkpoint", "--json").json["checkpoint"]
    assert home.run("audit", "verify").code == 0
    for path in home.home.root.glob("pipeline.db*"):
        path.unlink()
    shutil.copy(copy, database(home))
    done = home.run("audit", "verify", "--json")
    (problem,) = done.json["problems"]
    assert (done.code, done.json["entries"]) == (1, 5)
    assert (problem["code"], problem["checkpoint_id"]) == ("older_than_anchor", 2)
    assert (problem["since"], problem["repository"]) == (second["created_at"], str(home.repo))


def test_a_tail_that_was_cut_off_everywhere_is_told_by_its_checkpoint(home: Shell) -> None:
    assert home.run("audit", "checkpoint").code == 0
    tamper(
        home,
        "DELETE FROM state_transitions WHERE entity_type = 'worker'",
        "DELETE FROM workers",
    )
    assert codes(home) == ["checkpoint_rows"]
    tamper(home, "DELETE FROM audit_checkpoints")
    assert codes(home) == ["older_than_anchor"]


def test_a_repository_that_is_gone_or_damaged_is_a_problem(home: Shell) -> None:
    assert home.run("audit", "checkpoint").code == 0
    tip = home.git("rev-parse", AUDIT_REF)
    blob = home.git("rev-parse", f"{AUDIT_REF}:checkpoint.json")
    for name in (blob, tip):
        lost = home.repo / ".git" / "objects" / name[:2] / name[2:]
        kept = lost.read_bytes()
        lost.unlink()
        assert codes(home) == ["anchor_damaged"]
        lost.write_bytes(b"nonsense")
        assert codes(home) == ["anchor_damaged"]
        lost.write_bytes(kept)
        assert home.run("audit", "verify").code == 0
    (home.repo / ".git" / AUDIT_REF).write_text("nonsense\n")
    assert codes(home) == ["anchor_damaged"]
    home.repo.rename(home.folder / "moved")
    assert codes(home) == ["repository_unusable"]
    (home.folder / "empty").mkdir()
    assert codes(home, "--repo", "empty") == ["repository_unusable"]


def test_without_a_database_nothing_is_made(shell: Shell) -> None:
    for words in (("verify",), ("checkpoint",), ("prove", "evt_x")):
        done = shell.run("audit", *words, "--json")
        assert done.code == 3
        assert "no database" in done.error["message"]
    assert not shell.home.root.exists()
    shell.home.root.mkdir()
    database(shell).touch()
    assert shell.run("audit", "verify").code == 3
    assert database(shell).stat().st_size == 0


# checkpoint


def test_a_checkpoint_is_anchored_where_runs_have_worked(home: Shell) -> None:
    done = home.run("audit", "checkpoint", "--json")
    assert (done.code, done.err) == (0, "")
    made, anchors = done.json["checkpoint"], done.json["anchors"]
    assert (made["checkpoint_id"], made["entries"]) == (1, 5)
    tip = home.git("rev-parse", AUDIT_REF)
    assert anchors == [{"repo": str(home.repo), "commits": [tip], "error": None}]
    assert json.loads(home.git("show", f"{AUDIT_REF}:checkpoint.json")) == made
    again = home.run("audit", "checkpoint", "--json")
    assert again.code == 0
    assert again.json["checkpoint"] is None
    assert again.json["anchors"][0]["commits"] == []
    spoken = home.run("audit", "checkpoint")
    assert "No checkpoint" in spoken.out
    assert f"0 new anchors in {home.repo}" in spoken.out


def test_one_repository_that_is_gone_keeps_no_other_from_its_anchor(home: Shell) -> None:
    with home.store() as store:
        store.create("run", repo=str(home.folder / "gone"))
    done = home.run("audit", "checkpoint", "--json")
    assert done.code == 1
    gone, there = done.json["anchors"]
    assert "no such folder" in gone["error"]
    assert there["commits"] == [home.git("rev-parse", AUDIT_REF)]


def test_a_named_repository_that_is_none_stops_before_the_checkpoint(home: Shell) -> None:
    refused = home.run("audit", "checkpoint", "--repo", "nowhere", "--json")
    assert refused.code == 3
    assert home.run("audit", "checkpoint", "--json").json["checkpoint"]["checkpoint_id"] == 1


# prove


def test_a_proof_is_checked_without_the_database(home: Shell) -> None:
    event = last_event(home)
    early = home.run("audit", "prove", event, "--json")
    assert early.code == 1
    assert "patchline audit checkpoint" in early.error["message"]
    assert home.run("audit", "checkpoint").code == 0
    done = home.run("audit", "prove", event, "-o", "proof.json", "--json")
    assert done.code == 0
    assert done.json == json.loads((home.folder / "proof.json").read_text())
    assert home.run("audit", "prove", event).json == done.json
    shutil.rmtree(home.home.root)
    checked = home.run("audit", "prove", "--check", "proof.json", "--repo", "repo", "--json")
    assert checked.code == 0
    assert (checked.json["holds"], checked.json["anchored"]) == (True, True)
    assert json.loads(checked.json["event"])["reason"] == "it failed too often"
    assert (
        "anchored in repo"
        in home.run("audit", "prove", "--check", "proof.json", "--repo", "repo").out
    )
    alone = home.run("audit", "prove", "--check", "proof.json", "--json")
    assert (alone.code, alone.json["anchored"]) == (0, None)
    assert not home.home.root.exists()
    home.git("update-ref", "-d", AUDIT_REF)
    nowhere = home.run("audit", "prove", "--check", "proof.json", "--repo", "repo", "--json")
    assert (nowhere.code, nowhere.json["anchored"]) == (1, False)
    bent = {**done.json, "event": done.json["event"].replace("failed", "worked")}
    (home.folder / "bent.json").write_text(json.dumps(bent))
    refused = home.run("audit", "prove", "--check", "bent.json", "--json")
    assert (refused.code, refused.json["holds"], refused.json["event"]) == (1, False, None)


def test_what_cannot_be_proved_or_is_no_proof_is_a_clear_error(home: Shell) -> None:
    assert home.run("audit", "checkpoint").code == 0
    (home.folder / "no.json").write_bytes(b"\xff{")
    (home.folder / "other.json").write_text("[]")
    for code, words in (
        (2, ("evt_nothing",)),
        (2, ()),
        (2, ("--check", "no.json")),
        (2, ("--check", "other.json")),
        (2, ("--check", "missing.json")),
        (2, ("evt_x", "--check", "other.json")),
        (2, ("evt_x", "--repo", "repo")),
    ):
        done = home.run("audit", "prove", *words, "--json")
        assert (done.code, bool(done.error["message"])) == (code, True), words
    event = last_event(home)
    missing = home.run("audit", "prove", event, "-o", "no/such/folder", "--json")
    assert missing.code == 2
    tamper(home, "UPDATE state_transitions SET reason = CAST(x'63ff' AS TEXT)")
    damaged = home.run("audit", "prove", event, "--json")
    assert damaged.code == 1
    assert "patchline audit verify" in damaged.error["message"]
