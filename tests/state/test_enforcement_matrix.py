"""Every ordered pair of states, by raw SQL and through the store: what the machine has, no more."""

from collections.abc import Iterator

import pytest

from state.clock_and_ids import SequentialIds
from state.errors import InvalidTransitionError
from state.machines import MACHINES
from tests.state.enforcement import Raw, assert_sound, refused
from tests.state.world import NEEDS, World

PAIRS = [
    (name, source, target)
    for name, one in MACHINES.items()
    for source in one.states
    for target in one.states
]
LEGAL = {
    (name, edge.source, edge.target): edge
    for name, one in MACHINES.items()
    for edge in one.all_transitions()
}


def of(name: str) -> list[tuple[str, str]]:
    """The pairs of one machine."""
    return [(source, target) for machine, source, target in PAIRS if machine == name]


@pytest.fixture
def sql(world: World) -> Iterator[Raw]:
    with Raw(world.url) as one:
        yield one
    assert_sound(world)


def test_there_are_371_pairs_of_which_66_and_9_are_legal() -> None:
    assert len(set(PAIRS)) == len(PAIRS) == 371
    assert sum(not edge.extension for edge in LEGAL.values()) == 66
    assert sum(edge.extension for edge in LEGAL.values()) == 9


@pytest.mark.parametrize("name", MACHINES)
def test_by_hand_a_state_changes_with_its_audit_row_where_the_machine_has_it(
    world: World, sql: Raw, name: str
) -> None:
    taken = set()
    for source in MACHINES[name].states:
        entity = world.make_in(name, source)
        for target in MACHINES[name].states:
            version = sql.row(name, entity)["version"]
            # Of the same state, too, as a change: with a new version.
            more = {"entity_version": version + 1}
            if (name, source, target) not in LEGAL:
                with refused("audit_mismatch" if source == target else "illegal_transition"):
                    sql.audit(name, entity, target, **more)
                continue
            with sql.transaction():
                head = sql.audit(name, entity, target, **more)
                assert sql.step(name, entity, target, head) == 1
            taken.add((source, target))
            assert sql.row(name, entity)["state"] == target
            entity = world.make_in(name, source)
    assert taken == {pair for pair in of(name) if (name, *pair) in LEGAL}


@pytest.mark.parametrize("name", MACHINES)
def test_by_hand_no_state_changes_without_its_own_audit_row(
    world: World, sql: Raw, name: str
) -> None:
    for source in MACHINES[name].states:
        entity = world.make_in(name, source)
        before = sql.row(name, entity)
        for target in MACHINES[name].states:
            legal = (name, source, target) in LEGAL
            expected = "no_audit_row" if legal else "illegal_transition"
            if source == target:
                expected = "version"
            # Where a row is closed, another rule may be the first to refuse.
            ended = ["terminal"] * (source in MACHINES[name].terminal)
            ended += ["fixed"] * (source == "committed")
            forged = {"version": before["version"] + 1}
            with refused(expected, *ended):
                sql.step(name, entity, target, "0" * 64, **forged)
            # An audit row that tells of something else: that nothing changed.
            with refused(expected, *ended), sql.transaction():
                head = sql.audit(name, entity, source)
                sql.step(name, entity, target, head, **forged)
        assert sql.row(name, entity) == before


@pytest.mark.parametrize("name", MACHINES)
def test_a_strict_store_takes_the_66_and_another_one_the_9_as_well(world: World, name: str) -> None:
    taken: dict[bool, set[tuple[str, str]]] = {True: set(), False: set()}
    with world.open(strict=True, clock=world.clock, ids=SequentialIdsOf("strict")) as strict:
        for store in (strict, world.store):
            for source in MACHINES[name].states:
                entity = world.make_in(name, source)
                for target in MACHINES[name].states:
                    needs = NEEDS.get((name, target), {})
                    try:
                        store.transition(name, entity, target, **needs)
                    except InvalidTransitionError:
                        assert store.get(name, entity).state == source
                        continue
                    taken[store is strict].add((source, target))
                    entity = world.make_in(name, source)
    legal = {pair: LEGAL[(name, *pair)] for pair in of(name) if (name, *pair) in LEGAL}
    assert taken[True] == {pair for pair, edge in legal.items() if not edge.extension}
    assert taken[False] == legal.keys()
    assert_sound(world)


class SequentialIdsOf(SequentialIds):
    """Ids that are not those of another store on the same database."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def new(self, prefix: str) -> str:
        return super().new(f"{prefix}{self._name}_")
