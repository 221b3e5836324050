"""What each transition needs, sets and clears, as data (decisions C and T6; design section 7).

Both the rules in `state.rules` and the CHECK constraints in `state.schema` are made from these
tables, so that the two cannot disagree.
"""

from collections.abc import Mapping

STAMPS: Mapping[str, Mapping[str, str]] = {
    "run": {
        "running": "started_at",
        "succeeded": "completed_at",
        "failed": "completed_at",
        "canceled": "completed_at",
    },
    "workstream": {
        "executing": "started_at",
        "completed": "completed_at",
        "failed": "completed_at",
        "cancelled": "completed_at",
        "skipped": "completed_at",
    },
    "task": {
        "running": "started_at",
        "completed": "completed_at",
        "failed": "completed_at",
        "cancelled": "completed_at",
    },
    "worker": {"unresponsive": "unresponsive_at", "shutdown": "shutdown_at"},
    "uet_worker": {"TERMINATED": "terminated_at"},
    "patch_ledger": {
        "committed": "committed_at",
        "quarantined": "quarantined_at",
        "rolled_back": "rolled_back_at",
        "dropped": "dropped_at",
    },
    "test_gate": {
        "RUNNING": "started_at",
        "PASSED": "completed_at",
        "FAILED": "completed_at",
    },
    "circuit_breaker": {"OPEN": "opened_at"},
}
"""Machine -> state -> the timestamp column that entering it sets."""

FIRST_ONLY = frozenset({"started_at"})
"""Timestamps that keep their first value: `started_at` is the first start (decisions T6)."""

SINGLE_END: Mapping[str, str] = {
    "run": "completed_at",
    "workstream": "completed_at",
    "task": "completed_at",
    "worker": "shutdown_at",
    "uet_worker": "terminated_at",
    "test_gate": "completed_at",
}
"""Machines with one end column: filled exactly when the state is terminal (decisions C)."""

NEEDS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "task": {"running": ("worker_id",)},
    "patch_ledger": {
        "quarantined": ("quarantine_reason",),
        "rolled_back": ("rollback_reason",),
        "committed": ("commit_sha",),
    },
    "test_gate": {"PASSED": ("exit_code",), "FAILED": ("exit_code",)},
}
"""Machine -> state -> columns that must have a value, in the call or already in the row."""

FLAGS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "patch_ledger": {
        "validated": ("format_ok", "scope_ok", "constraints_ok"),
        "queued": ("format_ok", "scope_ok", "constraints_ok"),
        "applied": ("format_ok", "scope_ok", "constraints_ok"),
        "apply_failed": ("format_ok", "scope_ok", "constraints_ok"),
        "verified": ("format_ok", "scope_ok", "constraints_ok", "tests_ok"),
        "committed": ("format_ok", "scope_ok", "constraints_ok", "tests_ok"),
        "rolled_back": ("format_ok", "scope_ok", "constraints_ok", "tests_ok"),
    },
}
"""Machine -> state -> columns that must be true there (decisions P3)."""

NEEDS_OPERATOR = frozenset(
    {
        ("patch_ledger", "committed", "rolled_back"),
        ("patch_ledger", "quarantined", "dropped"),
    }
)
"""Transitions that only a named operator may make (decisions P2)."""

REASON_COLUMNS: Mapping[tuple[str, str], str] = {
    ("patch_ledger", "quarantined"): "quarantine_reason",
    ("patch_ledger", "rolled_back"): "rollback_reason",
    ("patch_ledger", "dropped"): "drop_reason",
}
"""Where a state keeps its own reason; the audit row takes its reason from there by default."""

MAX_APPLIES = 3
"""Applies of one patch before only quarantine or discarding is left."""

IDENTITY: Mapping[str, frozenset[str]] = {
    "run": frozenset({"phase_id", "retry_of"}),
    "workstream": frozenset({"run_id", "slug", "is_critical"}),
    "task": frozenset({"workstream_id", "slug", "is_critical", "retry_of"}),
    "worker": frozenset({"affinity"}),
    "uet_worker": frozenset[str](),
    "patch_ledger": frozenset({"patch_id", "task_id", "workstream_id", "run_id", "attempt_id"}),
    "test_gate": frozenset(
        {
            *("gate_type", "retry_of", "command", "expected_exit_codes"),
            *("task_id", "run_id", "ledger_id"),
        }
    ),
    "circuit_breaker": frozenset[str](),
    "task_attempt": frozenset({"task_id", "number", "worker_id", "started_at"}),
    "compensation_plan": frozenset(
        {
            *("run_id", "workstream_id", "ledger_id", "entries", "reason", "operator"),
            *("on_failure", "document"),
        }
    ),
    "compensation_action": frozenset({"plan_id", "position", "task_id", "action", "arguments"}),
}
"""Columns that say what a row is: given when it is made and never changed (decisions C)."""

PROVED: Mapping[str, tuple[str, ...]] = {
    "task": ("exit_code", "timeout_occurred"),
    "patch_ledger": (
        "base_commit",
        "candidate_commit",
        "candidate_tree",
        "commit_sha",
        "quarantine_reason",
        "rollback_reason",
        "drop_reason",
        "reverted_by",
    ),
    "test_gate": ("tree", "commit_sha", "exit_code", "timed_out"),
}
"""Columns that tell what became of an entity: an audit row tells each change of them, so that it
can be proved."""

MANAGED: Mapping[str, frozenset[str]] = {
    "task": frozenset({"worker_id", "token", "attempts"}),
}
"""Columns that only transitions and claims write."""
