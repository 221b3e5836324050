"""The lines of the event file are the canonical events, spelled by a template."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from state.audit import TransitionRecord
from state.canonical import canonical_json
from state.event_lines import as_line
from state.machines import MACHINES

TEXT = st.text(max_size=20)
PERHAPS = st.none() | TEXT
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
RECORDS = st.builds(
    TransitionRecord,
    transition_id=st.integers(1),
    event_id=TEXT,
    entity_type=st.sampled_from(list(MACHINES)),
    entity_id=TEXT,
    entity_version=st.integers(1),
    from_state=TEXT,
    to_state=TEXT,
    trigger=TEXT,
    reason=PERHAPS,
    severity=TEXT,
    operator=PERHAPS,
    metadata=st.dictionaries(TEXT, JSON, max_size=3),
    run_id=PERHAPS,
    workstream_id=PERHAPS,
    phase_id=PERHAPS,
    transitioned_at=TEXT,
    prev_hash=PERHAPS,
    hash=TEXT,
)


@given(record=RECORDS)
@settings(max_examples=300, deadline=None)
def test_a_line_is_the_canonical_event_as_json(record: TransitionRecord) -> None:
    kept = record._replace(metadata=json.loads(canonical_json(record.metadata)))
    assert as_line(record) == json.dumps(kept.as_event(), separators=(",", ":")) + "\n"
    assert as_line(record) == as_line(kept)
    assert as_line(record).isascii()


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("reason", b"\xff"),
        ("run_id", 7),
        ("entity_id", None),
        ("metadata", {"a": float("inf")}),
        ("metadata", {"a": float("nan")}),
        ("metadata", {"a": b"\xff"}),
    ],
)
def test_what_json_has_no_words_for_is_damage(column: str, value: Any) -> None:
    columns = dict.fromkeys(TransitionRecord._fields, "x") | {"transition_id": 7, "metadata": {}}
    record = TransitionRecord(**{**columns, column: value})
    with pytest.raises(Exception, match=r"audit row 7 .* patchline audit verify") as told:
        as_line(record)
    assert getattr(told.value, "code", None) == "history_damaged"
