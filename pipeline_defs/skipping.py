"""Which workstreams of a plan do not run, and why."""

from pipeline_defs.plan.model import Plan
from state.propagation import workstreams
from state.propagation.facts import Proposal, WorkstreamFacts


def skips(plan: Plan) -> dict[str, Proposal]:
    """How each workstream that does not run is skipped, by its id in the plan (decisions W5)."""
    facts = [
        WorkstreamFacts(ws.id, "planned", enabled=ws.enabled, depends_on=tuple(ws.depends_on))
        for ws in plan.workstreams
    ]
    return workstreams.skipped_workstreams(facts, plan.policy.skipped_satisfies)


def skipped_workstreams(plan: Plan) -> set[str]:
    """Disabled workstreams, and what depends on them unless the plan lets it run."""
    return set(skips(plan))
