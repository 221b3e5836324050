"""One spelling for every JSON value, so that equal values are equal bytes."""

import json
from typing import Any

canonical_json = json.JSONEncoder(
    ensure_ascii=True, allow_nan=False, sort_keys=True, separators=(",", ":")
).encode
"""JSON with sorted keys, no blanks, and ASCII alone (after RFC 8785, which spells numbers its own
way). ValueError for what JSON cannot say (NaN), TypeError for what is no JSON value."""


def as_stored(value: Any) -> Any:
    """A JSON value as it will be read again."""
    return json.loads(canonical_json(value))
