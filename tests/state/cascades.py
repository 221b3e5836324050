"""Runs as plain facts, and what applying a whole cascade makes of them."""

from dataclasses import replace
from typing import Any

from state.machines import MACHINES
from state.propagation.cascade import cascade
from state.propagation.facts import (
    Cancellation,
    Policy,
    RunFacts,
    Step,
    TaskFacts,
    WorkstreamFacts,
)

ASKED = Cancellation("enough", "ann")


def stream(ws_id: str, state: str, *depends_on: str, **columns: Any) -> WorkstreamFacts:
    return WorkstreamFacts(ws_id, state, depends_on=depends_on, **columns)


def task(task_id: str, state: str, *depends_on: str, **columns: Any) -> TaskFacts:
    ws = task_id.split("/")[0]
    return TaskFacts(task_id, state, workstream_id=ws, depends_on=depends_on, **columns)


def apply(facts: RunFacts, step: Step, strict: bool) -> RunFacts:
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
        legal = MACHINES[step.entity_type].find(state, proposal.state, strict=strict)
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
        facts = apply(facts, step, policy.strict)
    return facts


def states(facts: RunFacts) -> dict[str, str]:
    named = {one.task_id: one.state for one in facts.tasks}
    named |= {one.ws_id: one.state for one in facts.workstreams}
    return named | {"run": facts.state}
