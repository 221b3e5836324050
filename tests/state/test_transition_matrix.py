"""Every ordered pair of states of every machine, through the store."""

import pytest

from state.clock_and_ids import SequentialIds
from state.errors import InvalidTransitionError, TerminalStateViolation
from state.machines import MACHINES
from tests.state.world import NEEDS, World

SOURCES = [(name, state) for name, machine in MACHINES.items() for state in machine.states]


@pytest.mark.parametrize(("name", "source"), SOURCES)
def test_legal_transitions_are_taken_and_all_others_refused(
    world: World, name: str, source: str
) -> None:
    machine = MACHINES[name]
    for target in machine.states:
        entity_id = world.make_in(name, source)
        before = world.store.get(name, entity_id)
        needs = NEEDS.get((name, target), {})
        legal = machine.find(source, target)
        if legal is None:
            with pytest.raises(InvalidTransitionError) as refused:
                world.store.transition(name, entity_id, target, **needs)
            assert isinstance(refused.value, TerminalStateViolation) == (source in machine.terminal)
            assert refused.value.allowed == machine.targets(source)
            assert world.store.get(name, entity_id) == before
            continue
        record = world.store.transition(name, entity_id, target, **needs)
        after = world.store.get(name, entity_id)
        assert (after.state, after.version) == (target, before.version + 1)
        assert (record.from_state, record.to_state) == (source, target)
        assert record.entity_version == after.version
        assert record.trigger == legal.trigger
        assert record.metadata.get("extension", False) == legal.extension


@pytest.mark.parametrize(
    "edge",
    [edge for one in MACHINES.values() for edge in one.all_transitions() if edge.extension],
    ids=lambda edge: f"{edge.source}-{edge.target}",
)
def test_a_strict_store_refuses_the_extensions(world: World, edge: object) -> None:
    name = next(
        name for name, one in MACHINES.items() if any(edge is e for e in one.all_transitions())
    )
    source, target = edge.source, edge.target  # type: ignore[attr-defined]
    entity_id = world.make_in(name, source)
    with (
        world.open(strict=True, clock=world.clock, ids=SequentialIds()) as strict,
        pytest.raises(InvalidTransitionError),
    ):
        strict.transition(name, entity_id, target, **NEEDS.get((name, target), {}))
    assert world.store.get(name, entity_id).state == source


@pytest.mark.parametrize("name", MACHINES)
def test_every_listed_trigger_is_taken_and_no_other(world: World, name: str) -> None:
    for edge in MACHINES[name].all_transitions():
        needs = NEEDS.get((name, edge.target), {})
        for trigger in edge.triggers:
            entity_id = world.make_in(name, edge.source)
            record = world.store.transition(name, entity_id, edge.target, trigger=trigger, **needs)
            assert record.trigger == trigger
        entity_id = world.make_in(name, edge.source)
        with pytest.raises(InvalidTransitionError, match="by 'whim'"):
            world.store.transition(name, entity_id, edge.target, trigger="whim", **needs)


def test_both_spellings_of_cancelled_are_understood(world: World) -> None:
    assert world.store.transition("run", world.run_id, "cancelled").to_state == "canceled"
    task = world.make("task")
    assert world.store.transition("task", task, "canceled").to_state == "cancelled"


def test_a_state_that_no_machine_has_is_a_value_error(world: World) -> None:
    with pytest.raises(ValueError, match="cannot go from pending to done"):
        world.store.transition("run", world.run_id, "done")
