"""The audit chain hashes exactly the documented bytes."""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from state.canonical import canonical_json
from state.chain import HASHED, canonical_row, row_hash
from state.errors import StoreUsageError
from state.queries import history
from tests.state.world import World

TEXT = st.one_of(st.none(), st.text(max_size=20))
ROW = st.fixed_dictionaries(
    {name: TEXT for name in HASHED if name not in ("metadata", "entity_version")}
    | {
        "entity_version": st.integers(0, 2**62),
        "metadata": st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5)),
    }
)


@given(row=ROW)
@settings(max_examples=200, deadline=None)
def test_the_hashed_bytes_are_canonical_json(row: dict[str, Any]) -> None:
    expected = json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
    assert canonical_row(row, canonical_json(row["metadata"])) == expected
    digest = hashlib.sha256(expected).hexdigest()
    assert row_hash(row, canonical_json(row["metadata"])) == digest


def test_each_row_carries_the_hash_of_the_one_before(world: World) -> None:
    task = world.make_in("task", "completed")
    world.store.record("task", task, "noted", reason="ünd\n", metadata={"b": [1], "a": None})
    rows = history(world.store, "task", task)
    assert len(rows) > 4
    before = None
    for row in rows:
        values = {name: getattr(row, name) for name in HASHED}
        assert row.prev_hash == before
        assert row.hash == row_hash(values, canonical_json(row.metadata))
        before = row.hash
    assert world.store.get("task", task).audit_head == before


@pytest.mark.parametrize("metadata", [{"x": float("nan")}, {"x": object()}])
def test_metadata_that_json_cannot_say_is_refused_and_changes_nothing(
    world: World, metadata: dict[str, Any]
) -> None:
    task = world.make("task")
    with pytest.raises(StoreUsageError, match="cannot be kept as JSON"):
        world.store.transition("task", task, "queued", metadata=metadata)
    assert world.store.get("task", task).state == "pending"
    assert len(history(world.store, "task", task)) == 1
