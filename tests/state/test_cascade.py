"""Cascades over random runs: legal, children first, finite, and leaving nothing to wait in vain."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from state.machines import MACHINES
from state.propagation.cascade import cascade
from state.propagation.facts import Cancellation, Policy, RunFacts, TaskFacts, WorkstreamFacts
from tests.state.cascades import ASKED, apply, settled, states, stream, task

OF = {"blocked": ("pending", "blocked"), "planned": ("pending", "blocked")}
POLICIES = st.builds(Policy, st.booleans(), st.booleans(), st.booleans(), st.booleans())
RUN_STATES = ["running", "running", "running", "pending", "succeeded", "failed", "canceled"]


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
    state = draw(st.sampled_from(RUN_STATES))
    cancel = draw(st.sampled_from([None, None, ASKED]))
    return RunFacts("run", state, streams, tasks, cancel=cancel)


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
        facts = apply(facts, step, policy.strict)
        assert states(settled(facts, policy)) == whole


@settings(max_examples=300, deadline=None, derandomize=True)
@given(facts=some_runs(), policy=POLICIES)
def test_nothing_waits_for_what_can_never_complete(facts: RunFacts, policy: Policy) -> None:
    if facts.state == "pending" or policy.strict:
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
    after = settled(replace(facts, cancel=ASKED), replace(policy, strict=False))
    waiting = [one for one in (*after.tasks, *after.workstreams) if not one.ended]
    of_validating = {one.workstream_id for one in after.tasks if one.state == "validating"}
    for one in waiting:
        assert (
            one.state == "validating"
            or getattr(one, "ws_id", None) in of_validating
            or (isinstance(one, TaskFacts) and _validates(after, one.workstream_id))
        )
    ended = facts.state in MACHINES["run"].terminal
    assert (after.state in MACHINES["run"].terminal) == (not waiting or ended)


def _validates(facts: RunFacts, ws_id: str) -> bool:
    return any(one.ws_id == ws_id and one.state == "validating" for one in facts.workstreams)
