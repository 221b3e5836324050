"""What docs/AUDIT_CHAIN.md says can be done by anybody, with nothing but a standard library."""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

from state.canonical import canonical_json
from state.chain import HASHED, canonical_row
from state.checkpoints import checkpoint
from state.clock_and_ids import ManualClock, SequentialIds
from state.queries import transitions_since
from state.store import StateStore
from tests.state.tampering import tamper
from tests.state.world import World

PAGE = (Path(__file__).parents[2] / "docs" / "AUDIT_CHAIN.md").read_text(encoding="utf-8")


def block(name: str) -> str:
    (found,) = re.findall(rf"^```\w+ {name}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return found


def pairs(name: str) -> list[tuple[str, str]]:
    """Texts and their hashes, in turn."""
    lines = block(name).splitlines()
    return list(zip(lines[::2], lines[1::2], strict=True))


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def test_the_example_is_right_by_hashlib_and_json_alone() -> None:
    before, leaves = None, list[bytes]()
    for text, digest in pairs("rows"):
        values = json.loads(text)
        again = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        assert again == text
        assert sha256(text.encode()).hex() == digest
        assert values["prev_hash"] == before
        before = digest
        leaves.append(sha256(b"\x00" + bytes.fromhex(digest)))
    one, two, three = leaves
    ((text, digest),) = pairs("checkpoint")
    assert json.loads(text)["root"] == sha256(b"\x01" + sha256(b"\x01" + one + two) + three).hex()
    assert sha256(text.encode()).hex() == digest
    document = {**json.loads(text), "hash": digest}
    file = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    blob = hashlib.sha1(b"blob %d\0" % len(file) + file).digest()
    entry = b"100644 checkpoint.json\0" + blob
    tree = hashlib.sha1(b"tree %d\0" % len(entry) + entry).hexdigest()
    commit = block("anchor")
    assert commit.startswith(f"tree {tree}\n")
    assert commit.endswith(f"Patchline-Audit: {digest}\n")
    name = hashlib.sha1(b"commit %d\0" % len(commit) + commit.encode()).hexdigest()
    assert f"This is the commit `{name}`" in PAGE


def test_the_example_is_what_the_store_writes(tmp_path: Path) -> None:
    url, clock = f"sqlite:///{tmp_path / 'pipeline.db'}", ManualClock()
    with StateStore.open(url, clock=clock, ids=SequentialIds()) as store:
        gate = store.create("test_gate", gate_type="UNIT", command=["true"]).gate_id
        store.transition("test_gate", gate, "RUNNING")
        clock.advance(2)
        store.transition("test_gate", gate, "FAILED", exit_code=1, reason="2 tests \u2260 0")
        written: list[tuple[str, str | None]] = []
        for row in transitions_since(store):
            values = {name: getattr(row, name) for name in HASHED}
            written.append((canonical_row(values, canonical_json(row.metadata)).decode(), row.hash))
        made = checkpoint(store)
    assert written == pairs("rows")
    assert made is not None
    document = made.as_document()
    digest = document.pop("hash")
    assert [(canonical_json(document), digest)] == pairs("checkpoint")


def test_the_columns_are_those_that_are_hashed() -> None:
    listed = PAGE.split("nothing else:\n\n", 1)[1].split("\n\n", 1)[0]
    assert tuple(re.findall(r"`(\w+)`", listed)) == HASHED


def test_an_outsider_recomputes_a_history_and_finds_what_was_done_to_it(tmp_path: Path) -> None:
    url, clock = f"sqlite:///{tmp_path / 'pipeline.db'}", ManualClock()
    script = tmp_path / "recompute.py"
    script.write_text(block("recompute"), encoding="utf-8")

    def run(kept: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-I", str(script), str(tmp_path / "pipeline.db"), kept]
        return subprocess.run(command, capture_output=True, text=True)

    with StateStore.open(url, clock=clock, ids=SequentialIds()) as store:
        world = World(store, clock, tmp_path)
        awkward = {"text": "caf\u00e9 \U0001f600 \u2028 \x7f", "n": [1, 1.5, -0.0, 1e300, None]}
        world.go("task", world.make("task"), "queued", metadata=awkward, reason='"\\\n\x01')
        for state in ("committed", "quarantined"):
            world.make_in("patch_ledger", state)
            made = checkpoint(store)
        world.make("worker")
        assert made is not None
        entries = len(transitions_since(store))
        right = run(made.hash)
        assert right.stdout == f"{entries} rows and 2 checkpoints are what they were\n"
        assert "is not there" in run("00" * 32).stderr
        tamper(world, "UPDATE state_transitions SET operator = 'nobody' WHERE transition_id = 5")
        assert "audit row 5 is not what it was" in run(made.hash).stderr
