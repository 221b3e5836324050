"""Landing leases, compensation plans, and which entry took a ledger entry back.

Revision: 0004
Revises: 0003
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

BIG = {"sqlite": "INTEGER", "postgresql": "BIGINT"}
"""What the two backends call a whole number."""

TABLES = {
    "landing_leases": """
        lease_id TEXT NOT NULL, repository TEXT NOT NULL, branch TEXT NOT NULL,
        token {big} NOT NULL, holder TEXT, host TEXT, pid {big}, pid_started_at TEXT,
        acquired_at TEXT, expires_at TEXT, created_at TEXT NOT NULL,
        PRIMARY KEY (lease_id),
        CONSTRAINT uq_landing_leases_branch UNIQUE (repository, branch),
        CONSTRAINT ck_landing_leases_token CHECK (token >= 0),
        CONSTRAINT ck_landing_leases_expires_at CHECK ((holder IS NULL) = (expires_at IS NULL))
    """,
    "compensation_plans": """
        plan_id TEXT NOT NULL, run_id TEXT NOT NULL, workstream_id TEXT NOT NULL, ledger_id TEXT,
        entries JSON NOT NULL, reason TEXT NOT NULL, operator TEXT, on_failure TEXT NOT NULL,
        document JSON NOT NULL, outcome TEXT, revert_ledger_id TEXT, created_at TEXT NOT NULL,
        completed_at TEXT, metadata JSON NOT NULL,
        PRIMARY KEY (plan_id),
        FOREIGN KEY(run_id) REFERENCES runs (run_id),
        FOREIGN KEY(workstream_id) REFERENCES workstreams (ws_id),
        FOREIGN KEY(ledger_id) REFERENCES patch_ledger_entries (ledger_id),
        FOREIGN KEY(revert_ledger_id) REFERENCES patch_ledger_entries (ledger_id),
        CONSTRAINT ck_compensation_plans_on_failure CHECK (on_failure IN ('stop', 'continue',
            'retry')),
        CONSTRAINT ck_compensation_plans_outcome CHECK (outcome IN ('done', 'failed')),
        CONSTRAINT ck_compensation_plans_completed_at CHECK ((outcome IS NULL) = (completed_at IS
            NULL))
    """,
    "compensation_actions": """
        action_id TEXT NOT NULL, plan_id TEXT NOT NULL, position {big} NOT NULL, task_id TEXT,
        action TEXT NOT NULL, arguments JSON NOT NULL, status TEXT NOT NULL,
        attempts {big} NOT NULL, exit_code {big}, output TEXT, output_bytes {big}, reason TEXT,
        created_at TEXT NOT NULL, started_at TEXT, ended_at TEXT, metadata JSON NOT NULL,
        PRIMARY KEY (action_id),
        FOREIGN KEY(plan_id) REFERENCES compensation_plans (plan_id),
        FOREIGN KEY(task_id) REFERENCES tasks (task_id),
        CONSTRAINT uq_compensation_actions_position UNIQUE (plan_id, position),
        CONSTRAINT ck_compensation_actions_action CHECK (action IN ('git_revert', 'run_gates',
            'command', 'notify')),
        CONSTRAINT ck_compensation_actions_status CHECK (status IN ('pending', 'running', 'done',
            'failed', 'skipped')),
        CONSTRAINT ck_compensation_actions_ended_at CHECK ((status IN ('done', 'failed',
            'skipped')) = (ended_at IS NOT NULL))
    """,
}


def upgrade() -> None:
    """Add three tables and a column."""
    big = BIG[op.get_bind().dialect.name]
    op.execute("ALTER TABLE patch_ledger_entries ADD COLUMN reverted_by TEXT")
    for name, columns in TABLES.items():
        op.execute(f"CREATE TABLE {name} ({columns.format(big=big)})")
