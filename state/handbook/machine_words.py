"""What the machines' data does not say: what an entity is, and guards that look at other rows."""

from collections.abc import Mapping

ABOUT: Mapping[str, str] = {
    "run": (
        "One execution of a plan, or of one workstream of it. It ends when all its workstreams "
        "have: every one completed or skipped is success, anything else is failure, unless the "
        "plan allows failures that are not critical. A run says `canceled`, with one l; every "
        "other machine says `cancelled`. Holding a run back is a flag, not a state."
    ),
    "workstream": (
        "A group of tasks that lands on the target branch as a whole, or not at all. It is "
        "blocked while a workstream that it depends on is not completed; what it does next is "
        "derived from its tasks. Merging with the target belongs to validating."
    ),
    "task": (
        "One piece of work: a tool run in a sandbox until its patch is committed on the "
        "workstream's branch. A retry is another attempt of the same task; a task that has ended "
        "stays as it is, and doing it again is a new task with `retry_of`."
    ),
    "worker": (
        "Whoever executes a task: a thread of a process, known by its heartbeats. It has one task "
        "at a time, and holds it under a fencing token that every write of the attempt carries."
    ),
    "uet_worker": (
        "An execution sandbox: a private working folder, with the processes that run in it. It is "
        "pooled, and reset before each use."
    ),
    "patch_ledger": (
        "The life of one patch, from what a tool changed to a commit, a quarantine or the bin. "
        "The patch itself is an immutable row of `patches`; a patch that must be applied anew to "
        "a branch that moved gets another ledger entry."
    ),
    "test_gate": (
        "One execution of one gate on one exact tree. Running the gate again is a new row with "
        "`retry_of`; whoever depends on the gate looks at the newest of the line."
    ),
    "circuit_breaker": (
        "The guard of a tool, shared by all processes: after a number of failures in a row nobody "
        "starts the tool until a cooldown has passed and a single probe has succeeded. It never "
        "ends."
    ),
}
"""Machine -> what the entity is."""

_DEPENDENCIES = "every dependency completed"
_WORKSTREAMS = f"{_DEPENDENCIES} (or skipped, where the plan says `skipped_satisfies`)"
_UNLESS_OPERATOR = "an operator need not wait"
GUARDS: Mapping[tuple[str, str, str], str] = {
    ("workstream", "planned", "ready"): _WORKSTREAMS,
    ("workstream", "blocked", "ready"): _WORKSTREAMS,
    ("task", "pending", "queued"): f"{_DEPENDENCIES}; entry gates passed",
    ("task", "blocked", "pending"): _DEPENDENCIES,
    ("task", "queued", "running"): "a worker that is neither unresponsive nor shut down",
    ("task", "running", "validating"): "blocking exit gates of this attempt passed",
    ("task", "running", "retrying"): "`retry_count` below `max_retries`",
    ("task", "retrying", "queued"): f"`next_attempt_at` reached ({_UNLESS_OPERATOR})",
    ("patch_ledger", "apply_failed", "queued"): "`apply_attempts` below {max_applies}",
    ("test_gate", "RUNNING", "PASSED"): "one of `expected_exit_codes`",
    ("test_gate", "RUNNING", "FAILED"): "none of `expected_exit_codes`, unless it was stopped",
    ("circuit_breaker", "OPEN", "HALF_OPEN"): (
        f"`cooldown_sec` past since `opened_at` ({_UNLESS_OPERATOR})"
    ),
}
"""Conditions that are more than a column being filled (`state.guards`, `state.rules`)."""

WRITES: Mapping[tuple[str, str | None, str | None], str] = {
    ("task", None, "blocked"): "sets `blocked_by`",
    ("workstream", None, "blocked"): "sets `blocked_by`",
    ("task", None, "running"): "new `token`; counts `attempts`; opens a row of `task_attempts`",
    ("task", "running", None): "closes the row of `task_attempts`",
}
"""What the store writes besides the rules; None stands for any state."""
