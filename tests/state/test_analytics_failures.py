"""What fails most, and that the same failure is recognised as the same."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from state.analysis.failures import FAILURE_STATES, failure_patterns
from state.analysis.reasons import fold
from state.machines import MACHINES
from state.queries import transitions_since
from tests.state.world import World

SAME = [
    [
        "exit code 2: error in /tmp/a1/src/app.py:17:4",
        "exit code 2: error in /home/ann/b.py:9:31 (after 4 attempts)",
        "exit code 2: error in src/lib/x.py:1:1 (permanent: no retry)",
    ],
    ["timed out after 600 s", "timed out after 12.5 s"],
    [
        "conflict with 4f2a9c81be02 in core/a.py, core/b.py",
        "conflict with 9bb1c0ffee11 in lib/other.py",
    ],
    [
        "task task_01JH8Z4Y2W3X5V7T9R1Q0P2N4M was lost",
        "task task_01JH8Z4Y2W3X5V7T9R1Q0P2N4N was lost",
        "task task_000012 was lost",
    ],
    [
        "no answer from https://api.example.com/v1/x?y=1 at 2026-01-02T03:04:05Z",
        "no answer from https://api.example.com/v1/z at 2026-01-02T03:04:06.123456Z",
    ],
    [
        "lease 6f1f0d1e-8f1c-4d6b-9d3e-0a1b2c3d4e5f ended\n  at offset 0x7ffe12",
        "lease 00000000-8f1c-4d6b-9d3e-0a1b2c3d4e50 ended at offset 0x1",
    ],
    [
        "12 files are changed, policy.max_files is 10",
        "99 files are changed, policy.max_files is 10",
    ],
]
DIFFERENT = [
    "exit code 1",
    "exit code 127",
    "killed by signal 9 (SIGKILL)",
    "killed by signal 15 (SIGTERM)",
    "timed out after 3 s",
    "printed nothing for 3 s",
    "gate unit failed with exit code 1",
    "gate lint failed with exit code 1",
]


@pytest.mark.parametrize("reasons", SAME, ids=lambda reasons: reasons[0][:30])
def test_the_same_failure_folds_to_the_same(reasons: list[str]) -> None:
    assert len({fold(one) for one in reasons}) == 1


def test_different_failures_stay_different() -> None:
    assert len({fold(one) for one in DIFFERENT}) == len(DIFFERENT)


@pytest.mark.parametrize(
    "words", ["its process is gone", "did not pass: deadbeef, faded and added", "a b c"]
)
def test_plain_words_are_left_alone(words: str) -> None:
    assert fold(words) == words


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=400))
def test_any_reason_can_be_folded_and_folding_again_changes_nothing(reason: str) -> None:
    once = fold(reason)
    assert fold(once) == once or len(reason) > 200


def test_a_long_reason_is_folded_in_no_time() -> None:
    for bad in (
        "/" * 100_000,
        "a/" * 50_000,
        "a." * 50_000,
        "1," * 50_000,
        "f0" * 50_000,
        "(" * 9**5,
    ):
        assert len(fold(bad)) <= 400


def test_failure_states_are_states_of_their_machines() -> None:
    for name, states in FAILURE_STATES.items():
        assert set(states) <= set(MACHINES[name].states)


def fail(world: World, tool: str | None, *ends: tuple[str, str | None]) -> str:
    """A task of that tool, each of whose attempts ended so."""
    task = world.make("task", tool_id=tool)
    for state, reason in ends:
        world.go("task", task, "queued", "running")
        world.store.transition("task", task, state, reason=reason)
    return task


def test_tools_gates_and_reasons_are_counted_the_most_frequent_first(world: World) -> None:
    first = fail(
        world,
        "codex",
        ("retrying", "exit code 2: in /a/b.py"),
        ("failed", "exit code 2: in c/d.py (after 2 attempts)"),
    )
    fail(world, "ruff", ("failed", "timed out after 3 s"))
    fail(world, None, ("failed", "exit code 2: in x/y.py"))
    fail(world, "ruff", ("validating", None))
    for name in ("unit", None):
        gate = world.make("test_gate", name=name)
        world.go("test_gate", gate, "RUNNING", "FAILED")
    world.make_in("test_gate", "PASSED", name="unit")

    found = failure_patterns(world.store)
    assert found.total == 6
    assert [(one.entity_type, one.name, one.count) for one in found.tools] == [
        ("task", "codex", 2),
        ("task", "ruff", 1),
    ]
    assert [(one.name, one.count) for one in found.gates] == [("UNIT", 1), ("unit", 1)]
    assert [(one.entity_type, one.name, one.count) for one in found.reasons] == [
        ("task", "exit code 2: in <path>", 3),
        ("test_gate", "unexpected_exit_code", 2),
        ("task", "timed out after <n> s", 1),
    ]
    codex = found.tools[0]
    assert [one.reason for one in codex.examples] == [
        "exit code 2: in c/d.py (after 2 attempts)",
        "exit code 2: in /a/b.py",
    ]
    assert {one.entity_id for one in codex.examples} == {first}
    assert codex.first_at < codex.last_at == codex.examples[0].at


def test_every_failing_change_counts_and_no_other(world: World) -> None:
    for name, machine in MACHINES.items():
        for state in machine.states:
            world.make_in(name, state)
    rows = [row for row in transitions_since(world.store) if row.from_state != row.to_state]
    expected = [
        row
        for row in rows
        if row.severity in ("error", "critical")
        or row.to_state in FAILURE_STATES.get(row.entity_type, ())
    ]
    found = failure_patterns(world.store, limit=1000)
    assert found.total == len(expected) > 10
    assert sum(one.count for one in found.reasons) == found.total


def test_what_a_person_stopped_did_not_fail(world: World) -> None:
    task = world.make_in("task", "running", tool_id="codex")
    world.store.transition(
        "task", task, "retrying", reason="interrupted", metadata={"interrupted": True}
    )
    gate = world.make_in("test_gate", "RUNNING")
    world.store.transition("test_gate", gate, "FAILED", trigger="user_cancelled", exit_code=-15)
    assert failure_patterns(world.store).total == 0


def test_failures_of_one_run_or_of_late_are_told_apart(world: World) -> None:
    other = world.store.create("run").run_id
    theirs = world.store.create("workstream", run_id=other).ws_id
    fail(world, "codex", ("failed", "one"))
    world.clock.advance(1)
    since = world.clock.now()
    task = world.make("task", workstream_id=theirs, tool_id="ruff")
    world.go("task", task, "queued", "running", "failed", reason="two")
    for found in (
        failure_patterns(world.store, since=since),
        failure_patterns(world.store, run_id=other),
    ):
        assert (found.total, [one.name for one in found.tools]) == (1, ["ruff"])


def test_lists_and_examples_are_as_long_as_asked_for(world: World) -> None:
    for number in range(5):
        fail(world, f"tool-{number}", ("failed", "boom"))
    found = failure_patterns(world.store, limit=2, examples=1)
    assert [one.name for one in found.tools] == ["tool-0", "tool-1"]
    assert [len(one.examples) for one in found.reasons] == [1]
    assert (found.total, found.reasons[0].count) == (5, 5)
