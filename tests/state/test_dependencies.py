"""What a task or workstream waits for: asked by the store and by every cascade, with one answer."""

from threading import Thread

import pytest

from state.errors import EntityNotFoundError, GuardNotSatisfied, StoreUsageError
from state.propagation.cascade import cascade, task_step
from state.propagation.facts import Policy, RunFacts, TaskFacts, WorkstreamFacts
from state.propagation.reading import run_facts
from state.store import StateStore
from tests.state.world import World


def proposed(world: World, task: str) -> str | None:
    """What a cascade makes of a waiting task."""
    step = task_step(run_facts(world.store, world.run_id), task, Policy())
    return step.target if step else None


def lets_through(world: World, task: str, target: str) -> bool:
    """Whether the store's guard does; nothing is kept."""
    try:
        with world.store.batch() as tx:
            tx.transition("task", task, target)
            raise InterruptedError
    except GuardNotSatisfied as refused:
        assert refused.missing == ("depends_on",)  # noqa: PT017
        return False
    except InterruptedError:
        return True


@pytest.fixture
def waiting(world: World) -> tuple[str, str]:
    """A completed task, and one that depends on it, in a run that has begun."""
    world.store.transition("run", world.run_id, "running")
    need = world.make_in("task", "completed")
    task = world.make("task")
    world.store.add_dependency("task", task, need)
    return need, task


@pytest.mark.parametrize(
    ("way", "through", "onward"),
    [
        ((), False, "blocked"),
        (("queued", "running"), False, "blocked"),
        (("cancelled",), False, "cancelled"),
        (("queued", "running", "failed"), False, "cancelled"),
        (("queued", "running", "validating", "completed"), True, None),
    ],
)
def test_what_is_done_again_counts_though_the_original_was_completed(
    world: World, waiting: tuple[str, str], way: tuple[str, ...], through: bool, onward: str | None
) -> None:
    need, task = waiting
    assert (lets_through(world, task, "queued"), proposed(world, task)) == (True, None)
    world.go("task", world.make("task", retry_of=need), *way)
    assert (lets_through(world, task, "queued"), proposed(world, task)) == (through, onward)


def test_of_two_that_do_the_same_again_the_later_counts_whatever_their_place(
    world: World, waiting: tuple[str, str]
) -> None:
    need, task = waiting
    world.clock.advance(1)
    world.make_in("task", "completed", retry_of=need, position=2)
    later = world.make("task", retry_of=need, position=1)
    assert (lets_through(world, task, "queued"), proposed(world, task)) == (False, "blocked")
    world.go("task", later, "queued", "running", "validating", "completed")
    assert (lets_through(world, task, "queued"), proposed(world, task)) == (True, None)


def test_the_one_over_more_rows_counts_though_it_was_made_earlier(
    world: World, waiting: tuple[str, str]
) -> None:
    need, task = waiting
    again = world.make_in("task", "cancelled", retry_of=need)
    world.make_in("task", "completed", retry_of=again)
    world.clock.advance(3600)
    world.make_in("task", "cancelled", retry_of=need)
    assert (lets_through(world, task, "queued"), proposed(world, task)) == (True, None)


def test_a_dependency_on_any_row_of_a_lineage_is_one_on_its_newest(
    world: World, waiting: tuple[str, str]
) -> None:
    need, _ = waiting
    again = world.make_in("task", "cancelled", retry_of=need)
    task = world.make("task")
    world.store.add_dependency("task", task, again)
    assert (lets_through(world, task, "queued"), proposed(world, task)) == (False, "cancelled")
    world.clock.advance(1)
    world.make_in("task", "completed", retry_of=need)
    assert (lets_through(world, task, "queued"), proposed(world, task)) == (True, None)


def test_what_is_not_there_is_waited_for() -> None:
    facts = RunFacts(
        "run",
        "running",
        [
            WorkstreamFacts("a", "executing"),
            WorkstreamFacts("b", "planned", depends_on=("nobody",)),
        ],
        [
            TaskFacts("a/one", "pending", workstream_id="a", depends_on=("nobody",)),
            TaskFacts("b/one", "pending", workstream_id="b"),
        ],
    )
    assert [(one.entity_id, one.target) for one in cascade(facts, Policy())] == [
        ("a/one", "blocked"),
        ("b", "blocked"),
    ]


@pytest.mark.parametrize("kind", ["task", "workstream"])
def test_nothing_waits_in_a_circle(world: World, kind: str) -> None:
    store = world.store
    first, second, third, other = (world.make(kind) for _ in range(4))
    store.add_dependency(kind, first, second)
    store.add_dependency(kind, second, third)
    store.add_dependency(kind, first, third)
    store.add_dependency(kind, first, other)
    circle = f"{third} for {first} for (.* for )?{third}"
    with pytest.raises(StoreUsageError, match=circle):
        store.add_dependency(kind, third, first)
    with pytest.raises(StoreUsageError, match=f"{second} for {first} for {second}"):
        store.add_dependency(kind, second, first)
    with pytest.raises(StoreUsageError, match="cannot wait for itself"):
        store.add_dependency(kind, second, second)
    store.add_dependency(kind, other, third)
    store.add_dependency(kind, other, third)
    with pytest.raises(EntityNotFoundError):
        store.add_dependency(kind, third, "nobody")


@pytest.mark.parametrize("kind", ["task", "workstream"])
def test_nothing_waits_for_another_run(world: World, kind: str) -> None:
    store = world.store
    elsewhere = store.create("run").run_id
    ws = store.create("workstream", run_id=elsewhere).ws_id
    foreign = ws if kind == "workstream" else store.create("task", workstream_id=ws).task_id
    with pytest.raises(StoreUsageError, match=f"another run: {elsewhere}, not {world.run_id}"):
        store.add_dependency(kind, world.make(kind), foreign)


def test_two_that_make_each_other_wait_at_the_same_moment_take_turns(world: World) -> None:
    first, second, third, fourth = (world.make("task") for _ in range(4))
    world.store.add_dependency("task", second, third)
    world.store.add_dependency("task", fourth, first)
    said: list[Exception] = []

    def other_way_round(store: StateStore) -> None:
        try:
            store.add_dependency("task", third, fourth)
        except StoreUsageError as error:
            said.append(error)

    with world.open() as other:
        with world.store.batch() as tx:
            tx.add_dependency("task", first, second)
            thread = Thread(target=other_way_round, args=[other])
            thread.start()
        thread.join()
    assert "in a circle" in str(said)


# -- exit gates ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("way", "blocking", "through"),
    [
        ((), True, False),
        (("RUNNING",), True, False),
        (("RUNNING", "FAILED"), True, False),
        (("BLOCKED",), True, False),
        (("RUNNING", "PASSED"), True, True),
        (("RUNNING", "FAILED"), False, True),
    ],
)
def test_a_task_is_validated_once_its_exit_gates_have_passed(
    world: World, way: tuple[str, ...], blocking: bool, through: bool
) -> None:
    task, gate = world.make_in("task", "running"), world.make("test_gate", blocking=blocking)
    world.store.add_task_gate(task, gate, "exit")
    world.go("test_gate", gate, *way)
    if not through:
        with pytest.raises(GuardNotSatisfied, match=gate) as refused:
            world.go("task", task, "validating")
        assert refused.value.missing == ("exit_gates",)
        again = world.make("test_gate", retry_of=gate)
        world.go("test_gate", again, "RUNNING", "PASSED")
    assert world.go("task", task, "validating").to_state == "validating"


def test_a_gate_that_passed_and_then_failed_has_failed(world: World) -> None:
    task = world.make_in("task", "running")
    gate = world.make_in("test_gate", "PASSED")
    world.store.add_task_gate(task, gate, "exit")
    world.make_in("test_gate", "FAILED", retry_of=gate)
    with pytest.raises(GuardNotSatisfied, match=gate):
        world.go("task", task, "validating")


def test_what_gates_said_of_an_earlier_attempts_patch_is_over_with_it(world: World) -> None:
    task = world.make_in("task", "running")

    def judged(way: str) -> None:
        token = world.store.get("task", task).token
        entry = world.make("patch_ledger", task_id=task, attempt_id=token)
        gate = world.make("test_gate", task_id=task, ledger_id=entry)
        world.store.add_task_gate(task, gate, "exit")
        world.go("test_gate", gate, "RUNNING", way)

    judged("FAILED")
    with pytest.raises(GuardNotSatisfied):
        world.go("task", task, "validating")
    world.go("task", task, "retrying", "queued", "running")
    judged("PASSED")
    assert world.go("task", task, "validating").to_state == "validating"
