"""Cascades over whole runs: legal, children first, finite, and leaving nothing to wait in vain."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from state.machines import MACHINES
from state.propagation.cascade import cascade, task_step
from state.propagation.facts import (
    Cancellation,
    Policy,
    RunFacts,
    Step,
    TaskFacts,
    WorkstreamFacts,
)

ASKED = Cancellation("enough", "ann")
OF = {"blocked": ("pending", "blocked"), "planned": ("pending", "blocked")}
POLICIES = st.builds(Policy, st.booleans(), st.booleans(), st.booleans())


def stream(ws_id: str, state: str, *depends_on: str, **columns: Any) -> WorkstreamFacts:
    return WorkstreamFacts(ws_id, state, depends_on=depends_on, **columns)


def task(task_id: str, state: str, *depends_on: str, **columns: Any) -> TaskFacts:
    ws = task_id.split("/")[0]
    return TaskFacts(task_id, state, workstream_id=ws, depends_on=depends_on, **columns)


@st.composite
def some_runs(draw: st.DrawFn) -> RunFacts:
    """A run of random workstreams and tasks; each depends only on earlier ones."""
    streams: list[WorkstreamFacts] = []
    tasks: list[TaskFacts] = []
    asked = st.sampled_from([None, None, None, ASKED, Cancellation("it conflicts")])
    for n in range(draw(st.integers(1, 5))):
        ws_id = f"w{n}"
        state = draw(st.sampled_from(MACHINES["workstream"].states))
        streams.append(
            stream(
                ws_id,
                state,
                *draw(
                    st.sets(st.sampled_from([s.ws_id for s in streams]))
                    if streams
                    else st.just(set())
                ),
                is_critical=draw(st.booleans()),
                enabled=draw(st.sampled_from([True, True, True, False])),
                cancel=draw(asked),
            )
        )
        own: list[str] = []
        for m in range(draw(st.integers(1, 4))):
            needs = draw(st.sets(st.sampled_from(own)) if own else st.just(set[str]()))
            states = OF.get(state, MACHINES["task"].states)
            retry_of = draw(st.sampled_from([None, None, *own]))
            tasks.append(
                task(
                    f"{ws_id}/t{m}",
                    draw(st.sampled_from(states)),
                    *(() if retry_of else needs),
                    is_critical=draw(st.booleans()),
                    retry_of=retry_of,
                )
            )
            own.append(tasks[-1].task_id)
    state = draw(st.sampled_from(["running", "running", "pending"]))
    cancel = draw(st.sampled_from([None, None, ASKED]))
    return RunFacts("run", state, streams, tasks, cancel=cancel)


def apply(facts: RunFacts, step: Step) -> RunFacts:
    """The facts after a step, checking that the machine and the order allow it."""
    streams = {one.ws_id: one for one in facts.workstreams}
    tasks = {one.task_id: one for one in facts.tasks}
    kinds: dict[str, Any] = {
        "run": facts,
        "workstream": streams.get(step.entity_id),
        "task": tasks.get(step.entity_id),
    }
    before = kinds[step.entity_type]
    assert before.version == step.version
    state = before.state
    for proposal in step.path:
        legal = MACHINES[step.entity_type].find(state, proposal.state)
        assert legal is not None, f"{state} -> {proposal.state}"
        assert proposal.trigger in legal.triggers
        state = proposal.state
    version = step.version + len(step.path)
    if step.entity_type == "run":
        assert all(one.ended for one in streams.values())
        assert all(one.ended for one in tasks.values())
        return replace(facts, state=state, version=version)
    after = replace(before, state=state, version=version)
    if step.entity_type == "workstream":
        under = [one for one in tasks.values() if one.workstream_id == step.entity_id]
        assert not step.ends or all(one.ended for one in under), "children first"
        streams[step.entity_id] = after
    else:
        tasks[step.entity_id] = after
    return replace(facts, workstreams=list(streams.values()), tasks=list(tasks.values()))


def settled(facts: RunFacts, policy: Policy) -> RunFacts:
    for step in cascade(facts, policy):
        facts = apply(facts, step)
    return facts


def states(facts: RunFacts) -> dict[str, str]:
    named = {one.task_id: one.state for one in facts.tasks}
    named |= {one.ws_id: one.state for one in facts.workstreams}
    return named | {"run": facts.state}


@settings(max_examples=300, deadline=None, derandomize=True)
@given(facts=some_runs(), policy=POLICIES)
def test_every_step_is_legal_and_one_cascade_settles_everything(
    facts: RunFacts, policy: Policy
) -> None:
    assert cascade(settled(facts, policy), policy) == []


@settings(max_examples=150, deadline=None, derandomize=True)
@given(facts=some_runs(), policy=POLICIES)
def test_whoever_is_cut_short_after_any_step_comes_to_the_same_end(
    facts: RunFacts, policy: Policy
) -> None:
    whole = states(settled(facts, policy))
    for step in cascade(facts, policy):
        facts = apply(facts, step)
        assert states(settled(facts, policy)) == whole


@settings(max_examples=300, deadline=None, derandomize=True)
@given(facts=some_runs(), policy=POLICIES)
def test_nothing_waits_for_what_can_never_complete(facts: RunFacts, policy: Policy) -> None:
    if facts.state != "running":
        return
    after = settled(facts, policy)
    by_task = {one.task_id: one for one in after.tasks}
    retried = {one.retry_of for one in after.tasks}
    for one in after.tasks:
        if one.state in ("pending", "blocked"):
            lost = [by_task[need] for need in one.depends_on if need not in retried]
            assert not [need for need in lost if need.state in ("failed", "cancelled")]
    streams = {one.ws_id: one for one in after.workstreams}
    ends = {"failed", "cancelled"} | (set() if policy.skipped_satisfies else {"skipped"})
    for one in after.workstreams:
        under = [it for it in after.tasks if it.workstream_id == one.ws_id]
        if one.ended:
            assert {it.state for it in under if not it.ended} <= {"validating"}
        elif one.state in ("planned", "blocked", "ready"):
            lost = [need for need in one.depends_on if streams[need].state in ends]
            assert not lost or any(it.state == "validating" for it in under)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(facts=some_runs(), policy=POLICIES)
def test_a_cancelled_run_ends_with_all_under_it_but_what_awaits_its_verdict(
    facts: RunFacts, policy: Policy
) -> None:
    after = settled(replace(facts, cancel=ASKED), policy)
    waiting = [one for one in (*after.tasks, *after.workstreams) if not one.ended]
    of_validating = {one.workstream_id for one in after.tasks if one.state == "validating"}
    for one in waiting:
        assert (
            one.state == "validating"
            or getattr(one, "ws_id", None) in of_validating
            or (isinstance(one, TaskFacts) and _validates(after, one.workstream_id))
        )
    assert (after.state in MACHINES["run"].terminal) == (not waiting)


def _validates(facts: RunFacts, ws_id: str) -> bool:
    return any(one.ws_id == ws_id and one.state == "validating" for one in facts.workstreams)


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
    step = task_step(facts, "a/x")
    assert step is not None
    assert step.target == "cancelled"
    assert task_step(facts, "a/y") is None
    assert task_step(replace(facts, state="failed"), "a/x") is None


def test_a_long_chain_is_cancelled_in_one_call() -> None:
    chain = [task(f"a/t{n}", "blocked", f"a/t{n - 1}") for n in range(1, 2000)]
    first = task("a/t0", "failed", is_critical=False)
    facts = RunFacts("run", "running", [stream("a", "executing")], [first, *reversed(chain)])
    steps = cascade(facts, Policy())
    assert len(steps) == 1999 + 2
    assert [one.target for one in steps[-2:]] == ["failed", "failed"]
