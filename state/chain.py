"""The audit chain: each audit row of an entity carries the hash of the one before it.

The hash is SHA-256 over these exact bytes (design section 2): canonical JSON (`state.canonical`) of
an object with the keys of `HASHED`, in UTF-8, with the metadata as the JSON value that is stored
and absent values as `null`. `transition_id` is left out, since the database gives it afterwards;
the order of rows is covered by the checkpoints. There is one chain for each entity, so writers of
different entities never wait for each other.
"""

import hashlib
from collections.abc import Mapping
from json.encoder import encode_basestring_ascii as _text
from typing import Any

HASHED = (
    "entity_id",
    "entity_type",
    "entity_version",
    "event_id",
    "from_state",
    "metadata",
    "operator",
    "phase_id",
    "prev_hash",
    "reason",
    "run_id",
    "severity",
    "to_state",
    "transitioned_at",
    "trigger",
    "workstream_id",
)
"""The columns that the hash covers, in the order of their names."""

_TEMPLATE = "{" + ",".join(f'"{name}":%s' for name in HASHED) + "}"


def canonical_row(row: Mapping[str, Any], metadata: str) -> bytes:
    """The bytes that are hashed.

    Written out rather than through `json`, which takes three times as long; a test holds the two
    equal.

    Args:
        row: the columns of `HASHED` besides the metadata: text, a number or None.
        metadata: the metadata as canonical JSON.
    """
    parts = [
        metadata
        if name == "metadata"
        else "null"
        if (value := row[name]) is None
        else _text(value)
        if type(value) is str
        else str(value)
        for name in HASHED
    ]
    return (_TEMPLATE % tuple(parts)).encode()


def row_hash(row: Mapping[str, Any], metadata: str) -> str:
    """The hash of an audit row, in hexadecimal. See `canonical_row`."""
    return hashlib.sha256(canonical_row(row, metadata)).hexdigest()
