"""Which workstreams of a plan do not run."""

from pipeline_defs.plan.model import Plan


def skipped_workstreams(plan: Plan) -> set[str]:
    """Disabled workstreams, and what depends on them unless the plan lets it run (W5)."""
    skipped = {ws.id for ws in plan.workstreams if not ws.enabled}
    if plan.policy.skipped_satisfies:
        return skipped
    while True:
        more = {ws.id for ws in plan.workstreams if skipped.intersection(ws.depends_on)} - skipped
        if not more:
            return skipped
        skipped |= more
