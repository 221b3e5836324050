"""The tables as they were before versions were kept.

Written out, not imported: the models go on, and this revision must not.

Revision: 0001
Revises: nothing
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TYPES = {
    "sqlite": {
        "big": "INTEGER",
        "blob": "BLOB",
        "serial": "INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT",
    },
    "postgresql": {
        "big": "BIGINT",
        "blob": "BYTEA",
        "serial": "BIGSERIAL NOT NULL PRIMARY KEY",
    },
}
"""What the two backends call the types of TABLES."""

TABLES = {
    "circuit_breakers": """
        tool_id TEXT NOT NULL, state TEXT NOT NULL, version {big} NOT NULL,
        failure_count {big} NOT NULL, success_count {big} NOT NULL,
        failure_threshold {big} NOT NULL, success_threshold {big} NOT NULL,
        cooldown_sec FLOAT NOT NULL, opened_at TEXT, last_failure_at TEXT, probe_token TEXT,
        probe_expires_at TEXT, reason TEXT, created_at TEXT NOT NULL, updated_at TEXT NOT NULL,
        metadata JSON NOT NULL,
        PRIMARY KEY (tool_id),
        CONSTRAINT ck_circuit_breakers_state CHECK (state IN ('CLOSED', 'OPEN', 'HALF_OPEN')),
        CONSTRAINT ck_circuit_breakers_order_created_at_updated_at CHECK (updated_at >=
            created_at)
    """,
    "phases": """
        phase_id TEXT NOT NULL, plan TEXT NOT NULL, sha256 TEXT NOT NULL, title TEXT, source TEXT,
        document TEXT NOT NULL, created_at TEXT NOT NULL, metadata JSON NOT NULL,
        PRIMARY KEY (phase_id)
    """,
    "state_transitions": """
        transition_id {serial}, event_id TEXT NOT NULL, entity_type TEXT NOT NULL,
        entity_id TEXT NOT NULL, entity_version {big} NOT NULL, from_state TEXT NOT NULL,
        to_state TEXT NOT NULL, "trigger" TEXT NOT NULL, reason TEXT, severity TEXT NOT NULL,
        operator TEXT, metadata JSON NOT NULL, run_id TEXT, workstream_id TEXT, phase_id TEXT,
        transitioned_at TEXT NOT NULL, prev_hash TEXT, hash TEXT,
        CONSTRAINT uq_state_transitions_event_id UNIQUE (event_id)
    """,
    "runs": """
        run_id TEXT NOT NULL, state TEXT NOT NULL, version {big} NOT NULL, phase_id TEXT,
        dagster_run_id TEXT, plan TEXT, repo TEXT, target TEXT, base_commit TEXT, head_commit TEXT,
        held BOOLEAN NOT NULL, max_concurrent {big}, retry_of TEXT, reason TEXT, created_by TEXT,
        operator TEXT, started_at TEXT, completed_at TEXT, created_at TEXT NOT NULL,
        updated_at TEXT NOT NULL, metadata JSON NOT NULL,
        PRIMARY KEY (run_id),
        CONSTRAINT ck_runs_state CHECK (state IN ('pending', 'running', 'canceled', 'succeeded',
            'failed')),
        CONSTRAINT ck_runs_end CHECK ((state IN ('canceled', 'failed', 'succeeded')) =
            (completed_at IS NOT NULL)),
        CONSTRAINT ck_runs_order_created_at_updated_at CHECK (updated_at >= created_at),
        CONSTRAINT ck_runs_order_created_at_started_at CHECK (started_at >= created_at),
        CONSTRAINT ck_runs_order_started_at_completed_at CHECK (completed_at >= started_at),
        CONSTRAINT ck_runs_order_created_at_completed_at CHECK (completed_at >= created_at),
        FOREIGN KEY(phase_id) REFERENCES phases (phase_id),
        FOREIGN KEY(retry_of) REFERENCES runs (run_id)
    """,
    "workstreams": """
        ws_id TEXT NOT NULL, state TEXT NOT NULL, version {big} NOT NULL, run_id TEXT NOT NULL,
        slug TEXT, title TEXT, position {big} NOT NULL, is_critical BOOLEAN NOT NULL,
        enabled BOOLEAN NOT NULL, branch TEXT, base_commit TEXT, head_commit TEXT,
        merge_commit TEXT, reason TEXT, blocked_by JSON, started_at TEXT, completed_at TEXT,
        created_at TEXT NOT NULL, updated_at TEXT NOT NULL, metadata JSON NOT NULL,
        PRIMARY KEY (ws_id),
        CONSTRAINT ck_workstreams_state CHECK (state IN ('planned', 'blocked', 'ready',
            'executing', 'validating', 'skipped', 'cancelled', 'failed', 'completed')),
        CONSTRAINT ck_workstreams_end CHECK ((state IN ('cancelled', 'completed', 'failed',
            'skipped')) = (completed_at IS NOT NULL)),
        CONSTRAINT ck_workstreams_order_created_at_updated_at CHECK (updated_at >= created_at),
        CONSTRAINT ck_workstreams_order_created_at_started_at CHECK (started_at >= created_at),
        CONSTRAINT ck_workstreams_order_started_at_completed_at CHECK (completed_at >= started_at),
        CONSTRAINT ck_workstreams_order_created_at_completed_at CHECK (completed_at >= created_at),
        FOREIGN KEY(run_id) REFERENCES runs (run_id)
    """,
    "tasks": """
        task_id TEXT NOT NULL, state TEXT NOT NULL, version {big} NOT NULL,
        workstream_id TEXT NOT NULL, slug TEXT, title TEXT, position {big} NOT NULL,
        is_critical BOOLEAN NOT NULL, tool_id TEXT, retry_count {big} NOT NULL,
        max_retries {big} NOT NULL, timeout_sec FLOAT, capabilities JSON NOT NULL, worker_id TEXT,
        token TEXT, attempts {big} NOT NULL, blocked_by JSON, next_attempt_at TEXT, retry_of TEXT,
        timeout_occurred BOOLEAN NOT NULL, exit_code {big}, feedback TEXT, reason TEXT,
        started_at TEXT, completed_at TEXT, created_at TEXT NOT NULL, updated_at TEXT NOT NULL,
        metadata JSON NOT NULL,
        PRIMARY KEY (task_id),
        CONSTRAINT ck_tasks_worker_only_running CHECK ((state = 'running') = (worker_id IS NOT
            NULL)),
        CONSTRAINT ck_tasks_retry_count CHECK (retry_count <= max_retries),
        CONSTRAINT ck_tasks_state CHECK (state IN ('pending', 'blocked', 'queued', 'running',
            'retrying', 'validating', 'failed', 'cancelled', 'completed')),
        CONSTRAINT ck_tasks_end CHECK ((state IN ('cancelled', 'completed', 'failed')) =
            (completed_at IS NOT NULL)),
        CONSTRAINT ck_tasks_running_worker_id CHECK (state <> 'running' OR worker_id IS NOT NULL),
        CONSTRAINT ck_tasks_order_created_at_updated_at CHECK (updated_at >= created_at),
        CONSTRAINT ck_tasks_order_created_at_started_at CHECK (started_at >= created_at),
        CONSTRAINT ck_tasks_order_started_at_completed_at CHECK (completed_at >= started_at),
        CONSTRAINT ck_tasks_order_created_at_completed_at CHECK (completed_at >= created_at),
        FOREIGN KEY(workstream_id) REFERENCES workstreams (ws_id),
        FOREIGN KEY(retry_of) REFERENCES tasks (task_id)
    """,
    "workstream_dependencies": """
        ws_id TEXT NOT NULL, depends_on TEXT NOT NULL,
        PRIMARY KEY (ws_id, depends_on),
        CONSTRAINT ck_workstream_dependencies_self CHECK (ws_id <> depends_on),
        FOREIGN KEY(ws_id) REFERENCES workstreams (ws_id),
        FOREIGN KEY(depends_on) REFERENCES workstreams (ws_id)
    """,
    "patches": """
        patch_id TEXT NOT NULL, task_id TEXT, sha256 TEXT NOT NULL, base_commit TEXT NOT NULL,
        tree TEXT, diff {blob} NOT NULL, files {big} NOT NULL, insertions {big} NOT NULL,
        deletions {big} NOT NULL, bytes {big} NOT NULL, origin TEXT, replaces_patch_id TEXT,
        effects JSON NOT NULL, created_at TEXT NOT NULL, metadata JSON NOT NULL,
        PRIMARY KEY (patch_id),
        FOREIGN KEY(task_id) REFERENCES tasks (task_id),
        FOREIGN KEY(replaces_patch_id) REFERENCES patches (patch_id)
    """,
    "task_attempts": """
        attempt_id TEXT NOT NULL, task_id TEXT NOT NULL, number INTEGER NOT NULL,
        worker_id TEXT NOT NULL, uet_worker_id TEXT, base_commit TEXT, pid {big},
        pid_started_at TEXT, started_at TEXT NOT NULL, ended_at TEXT, outcome TEXT, reason TEXT,
        exit_code {big}, seconds FLOAT, output TEXT, output_bytes {big}, metadata JSON NOT NULL,
        PRIMARY KEY (attempt_id),
        CONSTRAINT uq_task_attempts_number UNIQUE (task_id, number),
        CONSTRAINT ck_task_attempts_order_started_at_ended_at CHECK (ended_at >= started_at),
        FOREIGN KEY(task_id) REFERENCES tasks (task_id)
    """,
    "task_dependencies": """
        task_id TEXT NOT NULL, depends_on TEXT NOT NULL,
        PRIMARY KEY (task_id, depends_on),
        CONSTRAINT ck_task_dependencies_self CHECK (task_id <> depends_on),
        FOREIGN KEY(task_id) REFERENCES tasks (task_id),
        FOREIGN KEY(depends_on) REFERENCES tasks (task_id)
    """,
    "uet_workers": """
        worker_id TEXT NOT NULL, state TEXT NOT NULL, version {big} NOT NULL, run_id TEXT,
        repo TEXT, path TEXT, task_id TEXT, heartbeat_at TEXT, base_commit TEXT,
        terminated_at TEXT, created_at TEXT NOT NULL, updated_at TEXT NOT NULL,
        metadata JSON NOT NULL,
        PRIMARY KEY (worker_id),
        CONSTRAINT ck_uet_workers_state CHECK (state IN ('SPAWNING', 'IDLE', 'BUSY', 'DRAINING',
            'TERMINATED')),
        CONSTRAINT ck_uet_workers_end CHECK ((state IN ('TERMINATED')) = (terminated_at IS NOT
            NULL)),
        CONSTRAINT ck_uet_workers_order_created_at_updated_at CHECK (updated_at >= created_at),
        FOREIGN KEY(run_id) REFERENCES runs (run_id),
        FOREIGN KEY(task_id) REFERENCES tasks (task_id)
    """,
    "workers": """
        worker_id TEXT NOT NULL, state TEXT NOT NULL, version {big} NOT NULL, run_id TEXT,
        capabilities JSON NOT NULL, affinity TEXT, host TEXT, pid {big}, pid_started_at TEXT,
        heartbeat_at TEXT, drain BOOLEAN NOT NULL, task_id TEXT, unresponsive_at TEXT,
        shutdown_at TEXT, created_at TEXT NOT NULL, updated_at TEXT NOT NULL,
        metadata JSON NOT NULL,
        PRIMARY KEY (worker_id),
        CONSTRAINT ck_workers_state CHECK (state IN ('initializing', 'idle', 'busy',
            'unresponsive', 'shutdown')),
        CONSTRAINT ck_workers_end CHECK ((state IN ('shutdown')) = (shutdown_at IS NOT NULL)),
        CONSTRAINT ck_workers_order_created_at_updated_at CHECK (updated_at >= created_at),
        FOREIGN KEY(run_id) REFERENCES runs (run_id),
        FOREIGN KEY(task_id) REFERENCES tasks (task_id)
    """,
    "patch_ledger_entries": """
        ledger_id TEXT NOT NULL, state TEXT NOT NULL, version {big} NOT NULL, patch_id TEXT,
        task_id TEXT, workstream_id TEXT, run_id TEXT, attempt_id TEXT, format_ok BOOLEAN NOT NULL,
        scope_ok BOOLEAN NOT NULL, constraints_ok BOOLEAN NOT NULL, tests_ok BOOLEAN NOT NULL,
        apply_attempts {big} NOT NULL, base_commit TEXT, candidate_commit TEXT,
        candidate_tree TEXT, commit_sha TEXT, commit_date TEXT, reasons JSON,
        quarantine_reason TEXT, rollback_reason TEXT, drop_reason TEXT, failure_reason TEXT,
        committed_at TEXT, quarantined_at TEXT, rolled_back_at TEXT, dropped_at TEXT,
        replaces TEXT, created_at TEXT NOT NULL, updated_at TEXT NOT NULL, metadata JSON NOT NULL,
        PRIMARY KEY (ledger_id),
        CONSTRAINT ck_patch_ledger_entries_committed_at CHECK ((state IN ('committed',
            'rolled_back')) = (committed_at IS NOT NULL)),
        CONSTRAINT ck_patch_ledger_entries_quarantined_at CHECK (state <> 'quarantined' OR
            quarantined_at IS NOT NULL),
        CONSTRAINT ck_patch_ledger_entries_quarantined_only CHECK (quarantined_at IS NULL OR state
            IN ('quarantined', 'dropped')),
        CONSTRAINT ck_patch_ledger_entries_rolled_back_at CHECK ((state = 'rolled_back') =
            (rolled_back_at IS NOT NULL)),
        CONSTRAINT ck_patch_ledger_entries_dropped_at CHECK ((state = 'dropped') = (dropped_at IS
            NOT NULL)),
        CONSTRAINT ck_patch_ledger_entries_state CHECK (state IN ('created', 'validated', 'queued',
            'applied', 'apply_failed', 'verified', 'committed', 'quarantined', 'dropped',
            'rolled_back')),
        CONSTRAINT ck_patch_ledger_entries_quarantined_quarantine_reason CHECK (state <>
            'quarantined' OR quarantine_reason IS NOT NULL),
        CONSTRAINT ck_patch_ledger_entries_rolled_back_rollback_reason CHECK (state <>
            'rolled_back' OR rollback_reason IS NOT NULL),
        CONSTRAINT ck_patch_ledger_entries_committed_commit_sha CHECK (state <> 'committed' OR
            commit_sha IS NOT NULL),
        CONSTRAINT ck_patch_ledger_entries_format_ok CHECK (state NOT IN ('validated', 'queued',
            'applied', 'apply_failed', 'verified', 'committed', 'rolled_back') OR format_ok),
        CONSTRAINT ck_patch_ledger_entries_scope_ok CHECK (state NOT IN ('validated', 'queued',
            'applied', 'apply_failed', 'verified', 'committed', 'rolled_back') OR scope_ok),
        CONSTRAINT ck_patch_ledger_entries_constraints_ok CHECK (state NOT IN ('validated',
            'queued', 'applied', 'apply_failed', 'verified', 'committed', 'rolled_back') OR
            constraints_ok),
        CONSTRAINT ck_patch_ledger_entries_tests_ok CHECK (state NOT IN ('verified', 'committed',
            'rolled_back') OR tests_ok),
        CONSTRAINT ck_patch_ledger_entries_order_created_at_updated_at CHECK (updated_at >=
            created_at),
        FOREIGN KEY(patch_id) REFERENCES patches (patch_id),
        FOREIGN KEY(task_id) REFERENCES tasks (task_id),
        FOREIGN KEY(workstream_id) REFERENCES workstreams (ws_id),
        FOREIGN KEY(run_id) REFERENCES runs (run_id),
        FOREIGN KEY(replaces) REFERENCES patch_ledger_entries (ledger_id)
    """,
    "test_gates": """
        gate_id TEXT NOT NULL, state TEXT NOT NULL, version {big} NOT NULL, name TEXT,
        gate_type TEXT NOT NULL, command JSON NOT NULL, task_id TEXT, workstream_id TEXT,
        run_id TEXT, ledger_id TEXT, role TEXT, position {big} NOT NULL, tree TEXT,
        commit_sha TEXT, depends_on JSON NOT NULL, expected_exit_codes JSON NOT NULL,
        timeout_sec FLOAT, blocking BOOLEAN NOT NULL, timed_out BOOLEAN NOT NULL, exit_code {big},
        output TEXT, output_bytes {big}, seconds FLOAT, pid {big}, retry_of TEXT, started_at TEXT,
        completed_at TEXT, created_at TEXT NOT NULL, updated_at TEXT NOT NULL,
        metadata JSON NOT NULL,
        PRIMARY KEY (gate_id),
        CONSTRAINT ck_test_gates_state CHECK (state IN ('PENDING', 'RUNNING', 'BLOCKED', 'PASSED',
            'FAILED')),
        CONSTRAINT ck_test_gates_end CHECK ((state IN ('FAILED', 'PASSED')) = (completed_at IS NOT
            NULL)),
        CONSTRAINT "ck_test_gates_PASSED_exit_code" CHECK (state <> 'PASSED' OR exit_code IS NOT
            NULL),
        CONSTRAINT "ck_test_gates_FAILED_exit_code" CHECK (state <> 'FAILED' OR exit_code IS NOT
            NULL),
        CONSTRAINT ck_test_gates_order_created_at_updated_at CHECK (updated_at >= created_at),
        CONSTRAINT ck_test_gates_order_created_at_started_at CHECK (started_at >= created_at),
        CONSTRAINT ck_test_gates_order_started_at_completed_at CHECK (completed_at >= started_at),
        CONSTRAINT ck_test_gates_order_created_at_completed_at CHECK (completed_at >= created_at),
        FOREIGN KEY(task_id) REFERENCES tasks (task_id),
        FOREIGN KEY(workstream_id) REFERENCES workstreams (ws_id),
        FOREIGN KEY(run_id) REFERENCES runs (run_id),
        FOREIGN KEY(ledger_id) REFERENCES patch_ledger_entries (ledger_id),
        FOREIGN KEY(retry_of) REFERENCES test_gates (gate_id)
    """,
    "task_gates": """
        task_id TEXT NOT NULL, gate_id TEXT NOT NULL, role TEXT NOT NULL,
        PRIMARY KEY (task_id, gate_id, role),
        CONSTRAINT ck_task_gates_role CHECK (role IN ('entry', 'exit')),
        FOREIGN KEY(task_id) REFERENCES tasks (task_id),
        FOREIGN KEY(gate_id) REFERENCES test_gates (gate_id)
    """,
}
INDEXES = (
    ("ix_circuit_breakers_state", "circuit_breakers", "state"),
    ("ix_state_transitions_entity", "state_transitions", "entity_type, entity_id"),
    ("ix_state_transitions_run_id", "state_transitions", "run_id"),
    ("ix_runs_dagster_run_id", "runs", "dagster_run_id"),
    ("ix_runs_phase_id", "runs", "phase_id"),
    ("ix_runs_retry_of", "runs", "retry_of"),
    ("ix_runs_state", "runs", "state"),
    ("ix_workstreams_run_id", "workstreams", "run_id"),
    ("ix_workstreams_state", "workstreams", "state"),
    ("ix_tasks_retry_of", "tasks", "retry_of"),
    ("ix_tasks_state", "tasks", "state"),
    ("ix_tasks_worker_id", "tasks", "worker_id"),
    ("ix_tasks_workstream_id", "tasks", "workstream_id"),
    ("ix_workstream_dependencies_depends_on", "workstream_dependencies", "depends_on"),
    ("ix_patches_task_id", "patches", "task_id"),
    ("ix_task_dependencies_depends_on", "task_dependencies", "depends_on"),
    ("ix_uet_workers_run_id", "uet_workers", "run_id"),
    ("ix_uet_workers_state", "uet_workers", "state"),
    ("ix_uet_workers_task_id", "uet_workers", "task_id"),
    ("ix_workers_run_id", "workers", "run_id"),
    ("ix_workers_state", "workers", "state"),
    ("ix_workers_task_id", "workers", "task_id"),
    ("ix_patch_ledger_entries_patch_id", "patch_ledger_entries", "patch_id"),
    ("ix_patch_ledger_entries_replaces", "patch_ledger_entries", "replaces"),
    ("ix_patch_ledger_entries_run_id", "patch_ledger_entries", "run_id"),
    ("ix_patch_ledger_entries_state", "patch_ledger_entries", "state"),
    ("ix_patch_ledger_entries_task_id", "patch_ledger_entries", "task_id"),
    ("ix_patch_ledger_entries_workstream_id", "patch_ledger_entries", "workstream_id"),
    ("ix_test_gates_ledger_id", "test_gates", "ledger_id"),
    ("ix_test_gates_retry_of", "test_gates", "retry_of"),
    ("ix_test_gates_run_id", "test_gates", "run_id"),
    ("ix_test_gates_state", "test_gates", "state"),
    ("ix_test_gates_task_id", "test_gates", "task_id"),
    ("ix_test_gates_workstream_id", "test_gates", "workstream_id"),
)
"""Name, table, columns."""


def upgrade() -> None:
    """Make the tables and their indexes."""
    types = TYPES[op.get_context().dialect.name]
    for table, body in TABLES.items():
        op.execute(f"CREATE TABLE {table} ({body.format(**types)})")
    for name, table, columns in INDEXES:
        op.execute(f"CREATE INDEX {name} ON {table} ({columns})")
