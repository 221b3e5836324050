"""`patchline audit`, as people and programs call it, on histories that somebody tampered with."""

import json
import shutil
import sqlite3
from contextlib import closing

import pytest

from resources.audit.anchor import AUDIT_REF
from tests.cli.audited import audited, database, tamper, work
from tests.cli.shell import Shell

PROBLEM = [
    *("code", "message", "since", "entity_type", "entity_id", "transition_id", "event_id"),
    *("checkpoint_id", "repository"),
]


VERDICT = ["intact", "entries", "problems", "uncovered", "checkpoints", "anchors"]


@pytest.fixture
def home(shell: Shell) -> Shell:
    return audited(shell)


def codes(shell: Shell, *words: str) -> list[str]:
    """The codes that verification finds; it ends with 1 and says nothing besides."""
    done = shell.run("audit", "verify", "--json", *words)
    assert (done.code, done.err) == (1, "")
    assert list(done.json) == VERDICT
    assert done.json["intact"] is False
    assert all(sorted(one) == sorted(PROBLEM) for one in done.json["problems"])
    return [one["code"] for one in done.json["problems"]]


# verify


def test_an_untouched_history_is_intact(home: Shell) -> None:
    before = {path: path.read_bytes() for path in home.folder.rglob("*") if path.is_file()}
    done = home.run("audit", "verify", "--json")
    assert (done.code, done.err) == (0, "")
    repository = str(home.repo)
    assert done.json == {
        **{"intact": True, "entries": 5, "problems": [], "uncovered": 5, "checkpoints": 0},
        "anchors": [{"repository": repository, "checkpoints": 0, "note": None}],
    }
    spoken = home.run("audit", "verify")
    assert (spoken.code, spoken.out) == (
        0,
        "The history is intact: 5 audit rows, 5 of them under no checkpoint.\n"
        f"0 of 0 checkpoints anchored in {repository}\n",
    )
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
    assert codes(home) == ["rows_missing", "checkpoint_rows"]
    tamper(home, "DELETE FROM audit_checkpoints")
    assert codes(home) == ["rows_missing", "older_than_anchor"]


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
    assert home.run("audit", "verify", "--repo", "moved").code == 1
    assert home.run("audit", "verify", "--no-anchors").code == 0


def test_a_named_folder_that_is_no_repository_is_bad_input(home: Shell) -> None:
    (home.folder / "empty").mkdir()
    for command in (("verify",), ("checkpoint",), ("prove", "--check", __file__)):
        for folder in ("empty", "nowhere", "x" * 5000):
            done = home.run("audit", *command, "--repo", folder, "--json")
            assert done.code == 2, (command, folder)
            assert done.error["message"]
    assert home.run("audit", "checkpoint", "--json").json["checkpoint"]["checkpoint_id"] == 1


def test_a_known_repository_that_is_gone_matters_only_if_it_keeps_anchors(home: Shell) -> None:
    home.repo.rename(home.folder / "moved")
    done = home.run("audit", "verify", "--json")
    assert (done.code, done.json["intact"]) == (0, True)
    (there,) = done.json["anchors"]
    assert there["checkpoints"] is None
    assert "no such folder" in there["note"]
    assert f"Not looked at: The anchors in {home.repo}" in home.run("audit", "verify").out
    (home.folder / "moved").rename(home.repo)
    assert home.run("audit", "checkpoint").code == 0
    with home.store() as store:
        store.create("run", repo=str(home.folder / "gone"))
    assert home.run("audit", "verify").code == 0


def test_anchors_that_were_taken_away_are_told(home: Shell) -> None:
    assert home.run("audit", "checkpoint").code == 0
    spoken = home.run("audit", "verify")
    assert (spoken.code, spoken.out) == (
        0,
        f"The history is intact: 5 audit rows.\n1 of 1 checkpoint anchored in {home.repo}\n",
    )
    home.git("update-ref", "-d", AUDIT_REF)
    assert codes(home) == ["anchor_missing"]
    assert codes(home, "--repo", "repo") == ["anchor_missing"]
    alone = home.run("audit", "verify", "--no-anchors")
    assert alone.code == 0
    assert "No repository was looked at" in alone.out
    assert home.run("audit", "verify", "--no-anchors", "--repo", "repo").code == 2
    assert home.run("audit", "checkpoint").code == 0  # as the message says
    assert home.run("audit", "verify").code == 0


def test_what_was_kept_elsewhere_must_be_gone_on_from(home: Shell) -> None:
    made = home.run("audit", "checkpoint", "--json").json
    (commit,), kept = made["anchors"][0]["commits"], made["checkpoint"]["hash"]
    assert made["uncovered"] == 0
    with home.store() as store:
        work(store, "lathe")
    assert home.run("audit", "checkpoint").code == 0
    assert home.run("audit", "verify", "--expect", commit, "--expect", kept.upper()).code == 0
    assert codes(home, "--expect", commit, "--expect", "ab" * 20) == ["not_as_expected"]
    assert codes(home, "--no-anchors", "--expect", commit) == ["not_as_expected"]
    for nonsense in ("", "abc", "g" * 40, kept + "0"):
        assert home.run("audit", "verify", "--expect", nonsense).code == 2
    # Somebody makes another history of it, and its checkpoints and anchors with it.
    tamper(home, "DELETE FROM audit_checkpoints")
    home.git("update-ref", "-d", AUDIT_REF)
    with home.store() as store:
        work(store, "saw")
    assert home.run("audit", "checkpoint").code == 0
    assert home.run("audit", "verify").code == 0
    assert codes(home, "--expect", kept) == ["not_as_expected"]


def test_a_second_home_on_the_same_repository_is_told(home: Shell) -> None:
    assert home.run("audit", "checkpoint").code == 0
    other = Shell(home.folder / "second")
    other.folder.mkdir()
    with other.store() as store:
        store.create("run", repo=str(home.repo))
    assert codes(other) == ["anchor_of_another_database"]
    refused = other.run("audit", "checkpoint")
    assert refused.code == 1
    assert "another database's" in refused.err


def test_no_checkpoint_is_made_over_a_changed_row(home: Shell) -> None:
    tamper(home, "UPDATE state_transitions SET reason = 'all well' WHERE transition_id = 5")
    refused = home.run("audit", "checkpoint", "--json")
    assert refused.code == 1
    assert "audit row 5" in refused.error["message"]
    assert "patchline audit verify" in refused.error["message"]


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
