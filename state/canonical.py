"""One spelling for every JSON value, so that equal values are equal bytes."""

import json
from typing import Any

from state.errors import StoreUsageError

_encode = json.JSONEncoder(
    ensure_ascii=True, allow_nan=False, sort_keys=True, separators=(",", ":")
).encode


class JsonText(str):
    """A value that is spelled already."""

    __slots__ = ()


def canonical_json(value: Any) -> str:
    """JSON with sorted keys, no blanks, and ASCII alone (RFC 8785 but for the spelling of numbers).

    Raises:
        StoreUsageError: JSON has no words for the value: NaN, an object of Python's, a value that
            is nested without end.
    """
    if type(value) is JsonText:
        return value
    try:
        return _encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise StoreUsageError(f"This cannot be kept as JSON: {error}. It is {value!r}.") from error
