"""One spelling for every JSON value, so that equal values are equal bytes."""

import json

canonical_json = json.JSONEncoder(
    ensure_ascii=True, allow_nan=False, sort_keys=True, separators=(",", ":")
).encode
"""JSON with sorted keys, no blanks, and ASCII alone (after RFC 8785, which spells numbers its own
way). ValueError for what JSON cannot say (NaN), TypeError for what is no JSON value."""
