"""How a run ends (decisions R2, R3)."""

from collections.abc import Sequence

from state.propagation.facts import Cancellation, Proposal, WorkstreamFacts


def derive_run(
    workstreams: Sequence[WorkstreamFacts], allow_noncritical_failures: bool = False
) -> Proposal | None:
    """How a running run ends, once all its workstreams have ended (R2); None before."""
    if not workstreams or not all(one.ended for one in workstreams):
        return None
    undone = [one for one in workstreams if one.state not in ("completed", "skipped")]
    names = tuple(one.name for one in undone)
    if not undone:
        return Proposal("succeeded", "all_workstreams_completed")
    critical = tuple(one.name for one in undone if one.is_critical and one.state == "failed")
    if critical:
        reason = f"critical workstream failed: {', '.join(critical)}"
        return Proposal("failed", "critical_workstream_failed", reason, critical)
    if allow_noncritical_failures and not any(one.is_critical for one in undone):
        reason = f"allowed failures: {', '.join(names)}"
        return Proposal("succeeded", "all_workstreams_completed", reason, names)
    return Proposal("failed", "critical_workstream_failed", "noncritical_incomplete", names)


def derive_cancelled_run(
    state: str, workstreams: Sequence[WorkstreamFacts], cancel: Cancellation
) -> Proposal | None:
    """How a run ends that somebody asked to cancel, once all under it has ended (R3).

    When the wish came too late and everything is done, the run has succeeded.
    """
    if not all(one.ended for one in workstreams):
        return None
    done = derive_run(workstreams)
    if state == "running" and done is not None and done.state == "succeeded":
        return done
    return Proposal("canceled", "user_cancelled", cancel.reason)
