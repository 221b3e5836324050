"""The tables of the single source of truth, portable between SQLite and PostgreSQL (design 2).

Every machine's table has its key, `state`, `version`, `created_at`, `updated_at` and `metadata`.
Timestamps are text, `YYYY-MM-DDTHH:MM:SS.ffffffZ`, so comparing text compares time.
"""

from sqlalchemy import (
    CheckConstraint,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    Table,
    UniqueConstraint,
)
from sqlalchemy import text as text_clause

from state.columns import BIG, METADATA, document, flag, machine_table, number, real, text

phases = Table(
    "phases",
    METADATA,
    text("phase_id", key=True),
    text("plan", null=False),
    text("sha256", null=False),
    text("title"),
    text("source"),
    text("document", null=False),
    text("created_at", null=False),
    document("metadata", dict),
)

runs = machine_table(
    "run",
    text("phase_id", "phases.phase_id"),
    text("dagster_run_id"),
    text("plan"),
    text("repo"),
    text("target"),
    text("base_commit"),
    text("head_commit"),
    flag("held"),
    number("max_concurrent"),
    text("retry_of", "runs.run_id"),
    text("reason"),
    text("created_by"),
    text("operator"),
    text("started_at"),
    text("completed_at"),
    indexed=("dagster_run_id",),
)

workstreams = machine_table(
    "workstream",
    text("run_id", "runs.run_id", null=False),
    text("slug"),
    text("title"),
    number("position", 0),
    flag("is_critical", True),
    flag("enabled", True),
    text("branch"),
    text("base_commit"),
    text("head_commit"),
    text("merge_commit"),
    text("reason"),
    document("blocked_by"),
    text("started_at"),
    text("completed_at"),
    indexed=("run_id",),
)

tasks = machine_table(
    "task",
    text("workstream_id", "workstreams.ws_id", null=False),
    text("slug"),
    text("title"),
    number("position", 0),
    flag("is_critical", True),
    text("tool_id"),
    number("retry_count", 0),
    number("max_retries", 3),
    real("timeout_sec"),
    document("capabilities", list),
    text("worker_id"),
    text("token"),
    number("attempts", 0),
    document("blocked_by"),
    text("next_attempt_at"),
    text("retry_of", "tasks.task_id"),
    flag("timeout_occurred"),
    number("exit_code"),
    text("feedback"),
    text("reason"),
    text("started_at"),
    text("completed_at"),
    indexed=("workstream_id", "worker_id", "retry_of"),
    more=(
        CheckConstraint(
            "(state = 'running') = (worker_id IS NOT NULL)", name="ck_tasks_worker_only_running"
        ),
        CheckConstraint("retry_count <= max_retries", name="ck_tasks_retry_count"),
        Index(
            "ix_tasks_queue",
            # The state first, though it is one: else planners take ix_tasks_state and sort.
            *("state", "position", "created_at", "task_id"),
            sqlite_where=text_clause("state = 'queued'"),
            postgresql_where=text_clause("state = 'queued'"),
        ),
    ),
)

task_attempts = Table(
    "task_attempts",
    METADATA,
    text("attempt_id", key=True),
    text("task_id", "tasks.task_id", null=False),
    Column("number", Integer, nullable=False),
    text("worker_id", null=False),
    text("uet_worker_id"),
    text("base_commit"),
    number("pid"),
    text("pid_started_at"),
    text("started_at", null=False),
    text("ended_at"),
    text("outcome"),
    text("reason"),
    number("exit_code"),
    real("seconds"),
    text("output"),
    number("output_bytes"),
    document("metadata", dict),
    UniqueConstraint("task_id", "number", name="uq_task_attempts_number"),
    CheckConstraint("ended_at >= started_at", name="ck_task_attempts_order_started_at_ended_at"),
)

workers = machine_table(
    "worker",
    text("run_id", "runs.run_id"),
    document("capabilities", list),
    text("affinity"),
    text("host"),
    number("pid"),
    text("pid_started_at"),
    text("heartbeat_at"),
    flag("drain"),
    text("task_id", "tasks.task_id"),
    text("unresponsive_at"),
    text("shutdown_at"),
    indexed=("run_id",),
)

uet_workers = machine_table(
    "uet_worker",
    text("run_id", "runs.run_id"),
    text("repo"),
    text("path"),
    text("task_id", "tasks.task_id"),
    text("heartbeat_at"),
    text("base_commit"),
    text("terminated_at"),
    indexed=("run_id",),
)

patches = Table(
    "patches",
    METADATA,
    text("patch_id", key=True),
    text("task_id", "tasks.task_id"),
    text("sha256", null=False),
    text("base_commit", null=False),
    text("tree"),
    Column("diff", LargeBinary, nullable=False),
    number("files", 0),
    number("insertions", 0),
    number("deletions", 0),
    number("bytes", 0),
    text("origin"),
    text("replaces_patch_id", "patches.patch_id"),
    document("effects", list),
    text("created_at", null=False),
    document("metadata", dict),
)

patch_ledger_entries = machine_table(
    "patch_ledger",
    text("patch_id", "patches.patch_id"),
    text("task_id", "tasks.task_id"),
    text("workstream_id", "workstreams.ws_id"),
    text("run_id", "runs.run_id"),
    text("attempt_id"),
    flag("format_ok"),
    flag("scope_ok"),
    flag("constraints_ok"),
    flag("tests_ok"),
    number("apply_attempts", 0),
    text("base_commit"),
    text("candidate_commit"),
    text("candidate_tree"),
    text("commit_sha"),
    text("commit_date"),
    document("reasons"),
    text("quarantine_reason"),
    text("rollback_reason"),
    text("drop_reason"),
    text("failure_reason"),
    text("committed_at"),
    text("quarantined_at"),
    text("rolled_back_at"),
    text("dropped_at"),
    text("replaces", "patch_ledger_entries.ledger_id"),
    text("reverted_by"),
    indexed=("task_id", "workstream_id", "run_id"),
    more=tuple(
        CheckConstraint(rule, name=f"ck_patch_ledger_entries_{name}")
        for name, rule in {
            "committed_at": "(state IN ('committed', 'rolled_back')) = (committed_at IS NOT NULL)",
            "quarantined_at": "state <> 'quarantined' OR quarantined_at IS NOT NULL",
            "quarantined_only": "quarantined_at IS NULL OR state IN ('quarantined', 'dropped')",
            "rolled_back_at": "(state = 'rolled_back') = (rolled_back_at IS NOT NULL)",
            "dropped_at": "(state = 'dropped') = (dropped_at IS NOT NULL)",
        }.items()
    ),
)

test_gates = machine_table(
    "test_gate",
    text("name"),
    text("gate_type", null=False),
    document("command", list),
    text("task_id", "tasks.task_id"),
    text("workstream_id", "workstreams.ws_id"),
    text("run_id", "runs.run_id"),
    text("ledger_id", "patch_ledger_entries.ledger_id"),
    text("role"),
    number("position", 0),
    text("tree"),
    text("commit_sha"),
    document("depends_on", list),
    document("expected_exit_codes", lambda: [0]),
    real("timeout_sec"),
    flag("blocking", True),
    flag("timed_out"),
    number("exit_code"),
    text("output"),
    number("output_bytes"),
    real("seconds"),
    number("pid"),
    text("retry_of", "test_gates.gate_id"),
    text("started_at"),
    text("completed_at"),
    indexed=("task_id", "workstream_id", "run_id", "retry_of"),
)

circuit_breakers = machine_table(
    "circuit_breaker",
    number("failure_count", 0),
    number("success_count", 0),
    number("failure_threshold", 5),
    number("success_threshold", 1),
    Column("cooldown_sec", Float, nullable=False, default=60.0),
    text("opened_at"),
    text("last_failure_at"),
    text("probe_token"),
    text("probe_expires_at"),
    text("reason"),
    listed=False,
)

workstream_dependencies = Table(
    "workstream_dependencies",
    METADATA,
    text("ws_id", "workstreams.ws_id", key=True),
    text("depends_on", "workstreams.ws_id", key=True),
    CheckConstraint("ws_id <> depends_on", name="ck_workstream_dependencies_self"),
)

task_dependencies = Table(
    "task_dependencies",
    METADATA,
    text("task_id", "tasks.task_id", key=True),
    text("depends_on", "tasks.task_id", key=True),
    CheckConstraint("task_id <> depends_on", name="ck_task_dependencies_self"),
)

task_gates = Table(
    "task_gates",
    METADATA,
    text("task_id", "tasks.task_id", key=True),
    text("gate_id", "test_gates.gate_id", key=True),
    text("role", key=True),
    CheckConstraint("role IN ('entry', 'exit')", name="ck_task_gates_role"),
)

state_transitions = Table(
    "state_transitions",
    METADATA,
    Column("transition_id", BIG, primary_key=True, autoincrement=True),
    text("event_id", null=False),
    text("entity_type", null=False),
    text("entity_id", null=False),
    Column("entity_version", BIG, nullable=False),
    text("from_state", null=False),
    text("to_state", null=False),
    text("trigger", null=False),
    text("reason"),
    text("severity", null=False),
    text("operator"),
    document("metadata", dict),
    text("run_id"),
    text("workstream_id"),
    text("phase_id"),
    text("transitioned_at", null=False),
    text("prev_hash"),
    text("hash"),
    UniqueConstraint("event_id", name="uq_state_transitions_event_id"),
    Index("ix_state_transitions_entity", "entity_type", "entity_id", "transition_id"),
    Index("ix_state_transitions_run_id", "run_id", "transition_id"),
    Index("ix_state_transitions_at", "transitioned_at"),
    Index(
        "ix_state_transitions_operator",
        "transitioned_at",
        sqlite_where=text_clause("operator IS NOT NULL"),
        postgresql_where=text_clause("operator IS NOT NULL"),
    ),
    sqlite_autoincrement=True,
)

audit_checkpoints = Table(
    "audit_checkpoints",
    METADATA,
    Column("checkpoint_id", Integer, primary_key=True, autoincrement=False),
    Column("first_transition_id", BIG, nullable=False),
    Column("last_transition_id", BIG, nullable=False),
    Column("entries", BIG, nullable=False),
    text("root", null=False),
    text("prev_hash"),
    text("hash", null=False),
    text("created_at", null=False),
    document("metadata", dict),
    UniqueConstraint("hash", name="uq_audit_checkpoints_hash"),
)

landing_leases = Table(
    "landing_leases",
    METADATA,
    text("lease_id", key=True),
    text("repository", null=False),
    text("branch", null=False),
    Column("token", BIG, nullable=False),
    text("holder"),
    text("host"),
    number("pid"),
    text("pid_started_at"),
    text("acquired_at"),
    text("expires_at"),
    text("created_at", null=False),
    UniqueConstraint("repository", "branch", name="uq_landing_leases_branch"),
    CheckConstraint("token >= 0", name="ck_landing_leases_token"),
    CheckConstraint("(holder IS NULL) = (expires_at IS NULL)", name="ck_landing_leases_expires_at"),
)

compensation_plans = Table(
    "compensation_plans",
    METADATA,
    text("plan_id", key=True),
    text("run_id", "runs.run_id", null=False),
    text("workstream_id", "workstreams.ws_id", null=False),
    text("ledger_id", "patch_ledger_entries.ledger_id"),
    document("entries", list),
    text("reason", null=False),
    text("operator"),
    text("on_failure", null=False),
    document("document", dict),
    text("outcome"),
    text("revert_ledger_id", "patch_ledger_entries.ledger_id"),
    text("created_at", null=False),
    text("completed_at"),
    document("metadata", dict),
    CheckConstraint(
        "on_failure IN ('stop', 'continue', 'retry')", name="ck_compensation_plans_on_failure"
    ),
    CheckConstraint("outcome IN ('done', 'failed')", name="ck_compensation_plans_outcome"),
    CheckConstraint(
        "(outcome IS NULL) = (completed_at IS NULL)", name="ck_compensation_plans_completed_at"
    ),
)

compensation_actions = Table(
    "compensation_actions",
    METADATA,
    text("action_id", key=True),
    text("plan_id", "compensation_plans.plan_id", null=False),
    Column("position", BIG, nullable=False),
    text("task_id", "tasks.task_id"),
    text("action", null=False),
    document("arguments", dict),
    text("status", null=False),
    number("attempts", 0),
    number("exit_code"),
    text("output"),
    number("output_bytes"),
    text("reason"),
    text("created_at", null=False),
    text("started_at"),
    text("ended_at"),
    document("metadata", dict),
    UniqueConstraint("plan_id", "position", name="uq_compensation_actions_position"),
    CheckConstraint(
        "action IN ('git_revert', 'run_gates', 'command', 'notify')",
        name="ck_compensation_actions_action",
    ),
    CheckConstraint(
        "status IN ('pending', 'running', 'done', 'failed', 'skipped')",
        name="ck_compensation_actions_status",
    ),
    CheckConstraint(
        "(status IN ('done', 'failed', 'skipped')) = (ended_at IS NOT NULL)",
        name="ck_compensation_actions_ended_at",
    ),
)
