"""Which workstreams of a plan do not run."""

from pipeline_defs.plan.model import Plan
from state.propagation.skipping import skipped_closure


def skipped_workstreams(plan: Plan) -> set[str]:
    """Disabled workstreams, and what depends on them unless the plan lets it run (W5)."""
    return skipped_closure(
        {ws.id: ws.depends_on for ws in plan.workstreams},
        {ws.id for ws in plan.workstreams if not ws.enabled},
        plan.policy.skipped_satisfies,
    )
