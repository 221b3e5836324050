"""Rows of the tables that have no states, for tests of what the database holds of them."""

from state import leases
from tests.state.world import World


def make_lease(world: World) -> None:
    """A branch that somebody may land on."""
    with world.store.batch() as tx:
        leases.acquire(tx, "/repo/.git", "main", leases.Holder("one", "here", 1, "1.0"), 30.0)


def make_compensation(world: World) -> tuple[str, str]:
    """A compensation plan with one action; their ids."""
    plan = world.store.create(
        "compensation_plan",
        run_id=world.run_id,
        workstream_id=world.ws_id,
        reason="broke",
        on_failure="stop",
    )
    action = world.store.create(
        "compensation_action",
        plan_id=plan.plan_id,
        position=0,
        action="git_revert",
        status="pending",
    )
    return plan.plan_id, action.action_id
