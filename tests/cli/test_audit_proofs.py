"""`patchline audit prove`: proofs convince whoever has something to compare them with."""

import hashlib
import json
import shutil
from typing import Any

import pytest

from resources.audit.anchor import AUDIT_REF
from state.canonical import canonical_json
from state.merkle import leaf_hash
from tests.cli.audited import audited, last_event, tamper
from tests.cli.shell import Shell


@pytest.fixture
def home(shell: Shell) -> Shell:
    return audited(shell)


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
    for root in (done.json["root"], done.json["checkpoint"]["hash"].upper()):
        kept = home.run("audit", "prove", "--check", "proof.json", "--root", root, "--json")
        assert (kept.code, kept.json["vouched"], kept.json["anchored"]) == (0, True, False)
    for more in ((), ("--repo", "repo")):
        wrong = home.run("audit", "prove", "--check", "proof.json", "--root", "ab" * 32, *more)
        assert (wrong.code, "NOT that of --root" in wrong.out) == (1, True)
    assert not home.home.root.exists()
    home.git("update-ref", "-d", AUDIT_REF)
    nowhere = home.run("audit", "prove", "--check", "proof.json", "--repo", "repo", "--json")
    assert (nowhere.code, nowhere.json["anchored"]) == (1, False)
    bent = {**done.json, "event": done.json["event"].replace("failed", "worked")}
    (home.folder / "bent.json").write_text(json.dumps(bent))
    refused = home.run("audit", "prove", "--check", "bent.json", "--json")
    assert (refused.code, refused.json["holds"], refused.json["event"]) == (1, False, None)


def test_a_proof_that_somebody_invented_convinces_nobody(home: Shell) -> None:
    """All hashes in it are right: it is of a history that never was."""
    event = '{"operator":"mallory","to_state":"committed"}'
    digest = hashlib.sha256(event.encode())
    document: dict[str, Any] = {
        "checkpoint_id": 1,
        "first_transition_id": 1,
        "last_transition_id": 1,
        "entries": 1,
        "root": leaf_hash(digest.digest()).hex(),
        "prev_hash": None,
        "created_at": "2026-01-01T00:00:00.000000Z",
    }
    sealed = hashlib.sha256(canonical_json(document).encode()).hexdigest()
    proof = {
        **{"event": event, "hash": digest.hexdigest(), "place": 0, "path": []},
        **{"root": document["root"], "checkpoint": {**document, "hash": sealed}},
    }
    (home.folder / "forged.json").write_text(json.dumps(proof))
    done = home.run("audit", "prove", "--check", "forged.json", "--json")
    said = [done.json[name] for name in ("holds", "vouched", "anchored")]
    assert (done.code, said) == (1, [True, False, False])
    spoken = home.run("audit", "prove", "--check", "forged.json")
    assert (spoken.code, "nothing outside of this file vouches" in spoken.out) == (1, True)
    assert home.run("audit", "checkpoint").code == 0
    there = home.run("audit", "prove", "--check", "forged.json", "--repo", "repo")
    assert (there.code, "NOT anchored in repo" in there.out) == (1, True)


def test_anchors_that_cannot_be_read_are_told_as_that(home: Shell) -> None:
    assert home.run("audit", "checkpoint").code == 0
    event = last_event(home)
    assert home.run("audit", "prove", event, "-o", "proof.json").code == 0
    home.git("update-ref", AUDIT_REF, "main")
    refused = home.run("audit", "prove", "--check", "proof.json", "--repo", "repo")
    assert refused.code == 1
    assert "is no anchor" in refused.err
    assert "right database" not in refused.err


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
