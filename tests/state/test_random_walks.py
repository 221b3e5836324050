"""Whatever is asked of an entity, its row, its history and the event file agree."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from state.errors import PatchlineError
from state.facts import FLAGS, NEEDS, SINGLE_END
from state.machines import MACHINES
from state.queries import history, transitions_since
from tests.state import world as worlds

STEPS = st.lists(st.tuples(st.integers(0, 8), st.booleans(), st.integers(-90, 90)), max_size=12)


@pytest.mark.parametrize("name", MACHINES)
@settings(max_examples=12, deadline=None)
@given(steps=STEPS)
def test_row_history_and_events_agree_after_any_walk(
    name: str, steps: list[tuple[int, bool, int]]
) -> None:
    machine = MACHINES[name]
    with worlds.fresh_world() as world:
        store, clock = world.store, world.clock
        entity_id = world.make(name)
        for pick, giving, seconds in steps:
            target = machine.states[pick % len(machine.states)]
            given_columns = worlds.NEEDS.get((name, target), {}) if giving else {}
            before = store.get(name, entity_id)
            try:
                store.transition(name, entity_id, target, **given_columns)
            except PatchlineError:
                assert store.get(name, entity_id) == before
            clock.advance(seconds)

        row, audit = store.get(name, entity_id), history(store, name, entity_id)
        assert [one.entity_version for one in audit] == list(range(1, row.version + 1))
        assert [one.from_state for one in audit] == ["none", *(one.to_state for one in audit[:-1])]
        assert audit[-1].to_state == row.state
        moments = [one.transitioned_at for one in audit]
        assert moments == sorted(moments)
        assert moments[-1] == row.updated_at
        for column in NEEDS.get(name, {}).get(row.state, ()):
            assert getattr(row, column) is not None
        for column in FLAGS.get(name, {}).get(row.state, ()):
            assert getattr(row, column) is True
        if end := SINGLE_END.get(name):
            assert (getattr(row, end) is not None) == (row.state in machine.terminal)
        lines = store.events.path.read_text().splitlines()
        assert [json.loads(line) for line in lines] == [
            one.as_event() for one in transitions_since(store)
        ]
