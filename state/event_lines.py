"""An event as a line of the event file (decisions E2)."""

from collections.abc import Iterable
from json.encoder import encode_basestring_ascii as _text

from state.audit import TransitionRecord
from state.canonical import canonical_json
from state.event_rows import damaged

_TEMPLATE = (
    '{"event_id":%s,"timestamp":%s,"event_type":%s,"severity":%s,"entity_type":%s,"entity_id":%s,'
    '"from_state":%s,"to_state":%s,"trigger":%s,"reason":%s,"metadata":%s,"operator":%s,'
    '"context":{"run_id":%s,"workstream_id":%s,"phase_id":%s}}\n'
)
_event_types: dict[tuple[str, bool], str] = {}


def as_lines(records: Iterable[TransitionRecord]) -> list[str]:
    """The canonical events as lines of JSON. They are ASCII.

    Raises:
        HistoryDamagedError: a record says what JSON has no words for.
    """
    return [as_line(one) for one in records]


def as_line(record: TransitionRecord) -> str:
    """`TransitionRecord.as_event` as a line of JSON, its metadata as it stands in the table.

    Written out rather than through `json`, which takes four times as long; a test holds the two
    equal.

    Raises:
        HistoryDamagedError: see `as_lines`.
    """
    reason, operator = record.reason, record.operator
    run, workstream, phase = record.run_id, record.workstream_id, record.phase_id
    kind = record.entity_type, operator is None
    try:
        return _TEMPLATE % (
            _text(record.event_id),
            _text(record.transitioned_at),
            _event_types.get(kind) or _event_type(record),
            _text(record.severity),
            _text(record.entity_type),
            _text(record.entity_id),
            _text(record.from_state),
            _text(record.to_state),
            _text(record.trigger),
            "null" if reason is None else _text(reason),
            canonical_json(record.metadata) if record.metadata else "{}",
            "null" if operator is None else _text(operator),
            "null" if run is None else _text(run),
            "null" if workstream is None else _text(workstream),
            "null" if phase is None else _text(phase),
        )
    except (TypeError, ValueError, RecursionError) as error:
        raise damaged(record.transition_id, error) from error


def _event_type(record: TransitionRecord) -> str:
    """Worked out by the record, once for each kind of entity."""
    text = _text(record.as_event()["event_type"])
    _event_types[record.entity_type, record.operator is None] = text
    return text
