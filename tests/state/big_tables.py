"""The rows of the big database: what each column holds, and how many there are."""

from collections.abc import Mapping

from state.entities import KINDS

RUNS, WORKSTREAMS, TASKS, WORKERS, BREAKERS = 50, 1_000, 100_000, 200, 12

Columns = dict[str, str]
"""What a column holds: an SQL expression over `i`, the number of the row from 0."""


def id_of(entity_type: str, number: str = "i") -> str:
    """The key of the row of that number."""
    return f"'{KINDS[entity_type].prefix}' || (100000000 + {number})"


def time_of(tick: str) -> str:
    """A time that grows with a number below 100,000: 10,000 a day, from 10 to 20 o'clock."""
    day, hour = f"(10 + {tick} / 10000)", f"(10 + {tick} / 1000 % 10)"
    minute, second = f"(10 + {tick} / 20 % 50)", f"(10 + {tick} % 20)"
    return (
        f"'2026-01-' || {day} || 'T' || {hour} || ':' || {minute} || ':' || {second} || '.000000Z'"
    )


def _state(usual: str, others: Mapping[int, str], of: int = 1000) -> str:
    """Most rows are in the usual state; of every so many, the ones of these places are not."""
    cases = " ".join(f"WHEN {place} THEN '{state}'" for place, state in others.items())
    return f"CASE i % {of} {cases} ELSE '{usual}' END"


def _when(states: str, value: str) -> str:
    """A value for rows in these states, else null; `{state}` is written out."""
    return f"CASE WHEN ({{state}}) IN ({states}) THEN {value} END"


def _rows(state: str, made: str, columns: Columns) -> Columns:
    """The columns of a machine's table."""
    every = {"created_at": time_of(made), "updated_at": time_of(made), **columns}
    return {"state": state, **{name: text.format(state=state) for name, text in every.items()}}


_RUN_STATE = _state("succeeded", {0: "running", 1: "pending", 2: "failed"}, 5)
_WS_STATE = _state("completed", {0: "executing", 1: "blocked", 2: "planned", 3: "failed"}, 100)
_TASK_STATE = _state(
    "completed",
    {
        **dict.fromkeys((0, 1, 2, *range(40, 70)), "queued"),
        3: "running",
        4: "retrying",
        5: "validating",
        **dict.fromkeys((6, 7, 8), "pending"),
        **dict.fromkeys((9, 10), "blocked"),
        **dict.fromkeys(range(11, 30), "failed"),
        **dict.fromkeys(range(30, 40), "cancelled"),
    },
)
_LEDGER_STATE = _state(
    "committed",
    {0: "created", 1: "validated", 2: "queued", **dict.fromkeys(range(3, 20), "quarantined")},
)
_GATE_STATE = _state(
    "PASSED", {0: "PENDING", 1: "RUNNING", 2: "BLOCKED", **dict.fromkeys(range(3, 40), "FAILED")}
)
_WORKER_STATE = _state("shutdown", {0: "idle", 1: "busy", 2: "unresponsive"}, 20)
_SANDBOX_STATE = _state("TERMINATED", {0: "IDLE", 1: "BUSY"}, 20)

TABLES: tuple[tuple[str, int, Columns], ...] = (
    (
        "phases",
        5,
        {"phase_id": "'plan@' || i", "plan": "'plan'", "sha256": "'' || i", "document": "'{}'"},
    ),
    (
        "runs",
        RUNS,
        _rows(
            _RUN_STATE,
            "(i * 2000)",
            {
                "run_id": id_of("run"),
                "phase_id": "'plan@' || (i % 5)",
                "dagster_run_id": "'dagster-' || i",
                "repo": "'/srv/repo' || (i % 3)",
                "started_at": _when("'running', 'succeeded', 'failed'", time_of("(i * 2000)")),
                "completed_at": _when("'succeeded', 'failed'", time_of("(i * 2000)")),
            },
        ),
    ),
    (
        "workstreams",
        WORKSTREAMS,
        _rows(
            _WS_STATE,
            "(i * 100)",
            {
                "ws_id": id_of("workstream"),
                "run_id": id_of("run", "i / 20"),
                "slug": "'ws' || (i % 20)",
                "position": "i % 20",
                "completed_at": _when("'completed', 'failed'", time_of("(i * 100)")),
            },
        ),
    ),
    (
        "tasks",
        TASKS,
        _rows(
            _TASK_STATE,
            "i",
            {
                "task_id": id_of("task"),
                "workstream_id": id_of("workstream", "i / 100"),
                "slug": "'task' || (i % 100)",
                "position": "i % 100",
                "tool_id": "'tool' || (i % 12)",
                "attempts": "1",
                "worker_id": _when("'running'", id_of("worker", "i / 1000")),
                "retry_of": f"CASE WHEN i % 50 = 49 THEN {id_of('task', 'i - 1')} END",
                "completed_at": _when("'completed', 'failed', 'cancelled'", time_of("i")),
            },
        ),
    ),
    (
        "task_attempts",
        TASKS,
        {
            "attempt_id": id_of("task_attempt"),
            "task_id": id_of("task"),
            "number": "1",
            "worker_id": id_of("worker", "i % 200"),
            "started_at": time_of("i"),
        },
    ),
    (
        "workers",
        WORKERS,
        _rows(
            _WORKER_STATE,
            "(i * 500)",
            {
                "worker_id": id_of("worker"),
                "run_id": id_of("run", "i / 4"),
                "heartbeat_at": time_of("(i * 500)"),
                "shutdown_at": _when("'shutdown'", time_of("(i * 500)")),
                "unresponsive_at": _when("'unresponsive'", time_of("(i * 500)")),
            },
        ),
    ),
    (
        "uet_workers",
        WORKERS,
        _rows(
            _SANDBOX_STATE,
            "(i * 500)",
            {
                "worker_id": id_of("uet_worker"),
                "run_id": id_of("run", "i / 4"),
                "terminated_at": _when("'TERMINATED'", time_of("(i * 500)")),
            },
        ),
    ),
    (
        "patches",
        TASKS,
        {
            "patch_id": id_of("patch"),
            "task_id": id_of("task"),
            "sha256": "'' || i",
            "base_commit": "'base'",
            "diff": "{bytes}",
            "created_at": time_of("i"),
        },
    ),
    (
        "patch_ledger_entries",
        TASKS,
        _rows(
            _LEDGER_STATE,
            "i",
            {
                "ledger_id": id_of("patch_ledger"),
                "patch_id": id_of("patch"),
                "task_id": id_of("task"),
                "workstream_id": id_of("workstream", "i / 100"),
                "run_id": id_of("run", "i / 2000"),
                **dict.fromkeys(("format_ok", "scope_ok", "constraints_ok", "tests_ok"), "TRUE"),
                "commit_sha": _when("'committed'", "'sha' || i"),
                "committed_at": _when("'committed'", time_of("i")),
                "quarantine_reason": _when("'quarantined'", "'out of scope'"),
                "quarantined_at": _when("'quarantined'", time_of("i")),
            },
        ),
    ),
    (
        "test_gates",
        TASKS,
        _rows(
            _GATE_STATE,
            "i",
            {
                "gate_id": id_of("test_gate"),
                "name": "'unit'",
                "gate_type": "'UNIT'",
                "task_id": id_of("task"),
                "workstream_id": id_of("workstream", "i / 100"),
                "run_id": id_of("run", "i / 2000"),
                "ledger_id": id_of("patch_ledger"),
                "role": "'exit'",
                "retry_of": f"CASE WHEN i % 50 = 49 THEN {id_of('test_gate', 'i - 1')} END",
                "exit_code": _when("'PASSED', 'FAILED'", "0"),
                "completed_at": _when("'PASSED', 'FAILED'", time_of("i")),
            },
        ),
    ),
    (
        "circuit_breakers",
        BREAKERS,
        _rows("'CLOSED'", "i", {"tool_id": "'tool' || i"}),
    ),
    (
        "workstream_dependencies",
        WORKSTREAMS - 1,
        {"ws_id": id_of("workstream", "i + 1"), "depends_on": id_of("workstream")},
    ),
    (
        "task_dependencies",
        TASKS - 1,
        {"task_id": id_of("task", "i + 1"), "depends_on": id_of("task")},
    ),
    (
        "task_gates",
        TASKS,
        {"task_id": id_of("task"), "gate_id": id_of("test_gate"), "role": "'entry'"},
    ),
    (
        "audit_checkpoints",
        1_000,
        {
            "checkpoint_id": "i + 1",
            "first_transition_id": "i * 300 + 1",
            "last_transition_id": "i * 300 + 300",
            "entries": "300",
            "root": "''",
            "hash": "'' || i",
        },
    ),
)
"""Table, how many rows, and the expressions of its columns; those not named have a default."""

AUDITED: Mapping[str, tuple[int, tuple[str, ...]]] = {
    "run": (RUNS, (_RUN_STATE,)),
    "workstream": (WORKSTREAMS, (_WS_STATE,)),
    "worker": (WORKERS, (_WORKER_STATE,)),
    "uet_worker": (WORKERS, (_SANDBOX_STATE,)),
    "task": (TASKS, ("'pending'", "'queued'", _TASK_STATE)),
}
"""Machine -> how many entities, and the states that their audit rows lead to."""
