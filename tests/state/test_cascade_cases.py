"""What becomes of whole runs, one case each."""

from dataclasses import replace

import pytest

from state.propagation.cascade import cascade, task_step
from state.propagation.facts import Policy, RunFacts
from tests.state.cascades import ASKED, settled, states, stream, task


def test_a_critical_failure_ends_its_siblings_and_what_depends_on_it_in_one_call() -> None:
    facts = RunFacts(
        "run",
        "running",
        [stream("a", "executing"), stream("b", "blocked", "a"), stream("c", "planned", "b")],
        [
            task("a/bad", "failed"),
            task("a/after", "blocked", "a/bad"),
            task("a/busy", "running"),
            task("b/one", "pending"),
            task("b/two", "blocked", "b/one"),
            task("c/one", "pending"),
        ],
    )
    steps = cascade(facts, Policy())
    assert [(one.entity_id, one.target, one.path[-1].trigger) for one in steps] == [
        ("a/after", "cancelled", "dependency_failed"),
        ("a/busy", "cancelled", "critical_sibling_failed"),
        ("a", "failed", "critical_task_failed"),
        ("b/two", "cancelled", "dependency_failed"),
        ("b/one", "cancelled", "dependency_failed"),
        ("b", "cancelled", "dependency_unreachable"),
        ("c/one", "cancelled", "dependency_failed"),
        ("c", "cancelled", "dependency_unreachable"),
        ("run", "failed", "critical_workstream_failed"),
    ]
    assert [one.state for one in steps[-2].path] == ["blocked", "cancelled"]
    assert [one.needs_archive for one in steps].index(True) == 2


def test_a_validating_task_waits_for_its_verdict_while_its_siblings_end() -> None:
    facts = RunFacts(
        "run",
        "running",
        [stream("a", "executing")],
        [task("a/bad", "failed"), task("a/judged", "validating"), task("a/next", "queued")],
    )
    after = settled(facts, Policy())
    assert states(after) == {
        "a/bad": "failed",
        "a/judged": "validating",
        "a/next": "cancelled",
        "a": "executing",
        "run": "running",
    }
    judged = replace(after.tasks[1], state="completed")
    after = replace(after, tasks=[after.tasks[0], judged, after.tasks[2]])
    assert states(settled(after, Policy()))["run"] == "failed"


def test_stopping_on_a_critical_failure_ends_independent_workstreams_too() -> None:
    facts = RunFacts(
        "run",
        "running",
        [stream("other", "executing"), stream("a", "failed")],
        [task("a/bad", "failed"), task("other/do", "running")],
    )
    assert cascade(facts, Policy()) == []
    after = states(settled(facts, Policy(stop_on_critical_failure=True)))
    assert (after["other/do"], after["other"], after["run"]) == ("cancelled", "cancelled", "failed")


@pytest.mark.parametrize(
    ("task_state", "expected"),
    [("running", "executing"), ("retrying", "executing"), ("failed", "failed")],
)
def test_a_workstream_whose_start_was_lost_in_a_crash_catches_up(
    task_state: str, expected: str
) -> None:
    facts = RunFacts("run", "running", [stream("a", "ready")], [task("a/do", task_state)])
    assert states(settled(facts, Policy()))["a"] == expected


def test_what_lives_under_an_ended_run_is_cancelled() -> None:
    facts = RunFacts(
        "run",
        "succeeded",
        [stream("a", "executing"), stream("b", "blocked", "a"), stream("c", "validating")],
        [
            task("a/do", "running"),
            task("a/judged", "validating"),
            task("b/do", "pending"),
            task("c/late", "pending"),
        ],
    )
    steps = cascade(facts, Policy())
    assert [(one.entity_id, one.target, one.path[-1].trigger) for one in steps] == [
        ("a/do", "cancelled", "dependency_failed"),
        ("b/do", "cancelled", "dependency_failed"),
        ("b", "cancelled", "dependency_unreachable"),
    ]
    assert {one.path[-1].reason for one in steps} == {"its run is succeeded"}
    # What is judged has its verdict first, and what is under it waits for that.
    judged = replace(facts, tasks=[replace(one, state="completed") for one in facts.tasks])
    assert [one.entity_id for one in cascade(judged, Policy())] == ["a", "b"]


def test_a_strict_store_leaves_alone_what_its_machines_cannot_end() -> None:
    facts = RunFacts(
        "run",
        "running",
        [stream("a", "executing"), stream("b", "blocked", "a"), stream("c", "planned", "a")],
        [task("a/busy", "running"), task("a/next", "pending"), task("b/do", "pending")],
        cancel=ASKED,
    )
    steps = cascade(facts, Policy(strict=True))
    assert [(one.entity_id, one.target) for one in steps] == [
        ("a/busy", "cancelled"),
        ("c", "cancelled"),
    ]


def test_who_cancelled_a_run_is_told_with_everything_under_it() -> None:
    facts = RunFacts("run", "running", [stream("a", "ready")], [task("a/do", "pending")])
    steps = cascade(replace(facts, cancel=ASKED), Policy())
    assert [(one.entity_id, one.operator, one.asked_by) for one in steps] == [
        ("a/do", None, "ann"),
        ("a", None, "ann"),
        ("run", "ann", None),
    ]
    alone = replace(facts, workstreams=[stream("a", "ready", cancel=ASKED)])
    assert [(one.entity_id, one.operator, one.asked_by) for one in cascade(alone, Policy())][
        :2
    ] == [
        ("a/do", None, "ann"),
        ("a", "ann", None),
    ]


def test_a_run_that_is_cancelled_too_late_has_succeeded() -> None:
    done = RunFacts("run", "running", [stream("a", "completed")], cancel=ASKED)
    assert states(settled(done, Policy()))["run"] == "succeeded"
    failed = replace(done, workstreams=[stream("a", "failed")])
    assert states(settled(failed, Policy()))["run"] == "canceled"


def test_the_task_that_stands_for_a_lineage_is_its_end_however_the_rows_are_ordered() -> None:
    retry = task("a/again", "running", retry_of="a/first")
    rows = [retry, task("a/first", "failed"), task("a/needs", "blocked", "a/first")]
    facts = RunFacts("run", "running", [stream("a", "executing")], rows)
    assert cascade(facts, Policy()) == []


def test_one_task_is_settled_without_the_others() -> None:
    facts = RunFacts(
        "run",
        "running",
        [stream("a", "executing")],
        [
            task("a/bad", "failed", is_critical=False),
            task("a/x", "blocked", "a/bad"),
            task("a/y", "pending"),
        ],
    )
    step = task_step(facts, "a/x", Policy())
    assert step is not None
    assert step.target == "cancelled"
    assert task_step(facts, "a/y", Policy()) is None
    assert task_step(replace(facts, state="failed"), "a/x", Policy()) is None


def test_a_long_chain_is_cancelled_in_one_call() -> None:
    chain = [task(f"a/t{n}", "blocked", f"a/t{n - 1}") for n in range(1, 2000)]
    first = task("a/t0", "failed", is_critical=False)
    facts = RunFacts("run", "running", [stream("a", "executing")], [first, *reversed(chain)])
    steps = cascade(facts, Policy())
    assert len(steps) == 1999 + 2
    assert [one.target for one in steps[-2:]] == ["failed", "failed"]
