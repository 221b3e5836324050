"""What the tables are for, the columns of those without a machine, and why each index is there."""

from collections.abc import Mapping

TABLES: Mapping[str, str] = {
    "phases": "Registered plan revisions. Written once, never changed.",
    "runs": "Executions of plans.",
    "workstreams": "The workstreams of a run.",
    "tasks": "The tasks of a workstream, retries of ended ones included.",
    "task_attempts": "Every start of a task, with what its tool did.",
    "workers": "Who executes tasks.",
    "uet_workers": "Sandboxes: private working folders that tools and gates run in.",
    "patches": "What tools changed, as data. Written once, never changed; the ledger has its life.",
    "patch_ledger_entries": "The life of each patch up to a commit, a quarantine or the bin.",
    "test_gates": "Executions of gates; each row names the exact tree that it judged.",
    "circuit_breakers": "One guard for each tool, shared by all processes.",
    "landing_leases": (
        "Who may land on a branch now. One row for each branch that was ever landed on; its token "
        "grows with every holder."
    ),
    "compensation_plans": "What is done about patches that are taken back, or about a failure.",
    "compensation_actions": "The steps of a compensation plan, in their order.",
    "workstream_dependencies": "Which workstream waits for which.",
    "task_dependencies": "Which task waits for which.",
    "task_gates": "Which gate executions judge which task, and in which role.",
    "state_transitions": (
        "The audit: one row for every creation and change of state, written in the transaction of "
        "the change, never changed or deleted. The rows of an entity are a chain of hashes. The "
        "event file `transitions.jsonl` is made from it."
    ),
    "audit_checkpoints": (
        "Seals over the audit: each is the Merkle root of the audit rows since the one before. "
        "Never changed or deleted."
    ),
}
"""Table -> what it is for."""

RECORD_COLUMNS: Mapping[str, Mapping[str, str]] = {
    "phases": {
        "phase_id": "`<plan>@<first 12 of sha256>`",
        "plan": "the plan's id",
        "sha256": "of the document",
        "title": "the plan's title",
        "source": "the plan file that it was read from",
        "document": "the whole plan, as it was read",
        "created_at": "when it was registered",
        "metadata": "anything else worth keeping, by name",
    },
    "task_attempts": {
        "attempt_id": "`att_` and a ULID: the fencing token of the attempt",
        "task_id": "the task",
        "number": "1 for the first attempt of the task",
        "worker_id": "the worker that made it",
        "uet_worker_id": "the sandbox that it worked in",
        "base_commit": "the commit that the tool started from",
        "pid": "the tool's process",
        "pid_started_at": "when that process started, seconds since 1970",
        "started_at": "when it was claimed",
        "ended_at": "when the task left running",
        "outcome": "the state that the task went to",
        "reason": "why, in words",
        "exit_code": "the tool's; negative: killed by a signal",
        "seconds": "how long the tool ran",
        "output": "what the tool printed: head and tail, secrets removed",
        "output_bytes": "how much it printed in all, bytes",
        "metadata": "anything else worth keeping, by name",
    },
    "patches": {
        "patch_id": "`patch_` and a ULID",
        "task_id": "the task that it was made for",
        "sha256": "of `diff`; a commit names it in its trailer `Patchline-Patch-SHA256`",
        "base_commit": "the commit that the tool started from",
        "tree": "the tree that the tool left",
        "diff": "the patch as git writes it",
        "files": "how many files it changes",
        "insertions": "lines added",
        "deletions": "lines removed",
        "bytes": "size of `diff`",
        "origin": "the tool that made it; `rollback` or `replacement`",
        "replaces_patch_id": "the patch that this one stands for",
        "effects": "what it does to each path: `change`, paths and modes",
        "created_at": "when it was recorded",
        "metadata": "anything else worth keeping, by name",
    },
    "landing_leases": {
        "lease_id": "a hash of repository and branch",
        "repository": "the git directory",
        "branch": "the branch, without `refs/heads/`",
        "token": "the fencing token of the latest holder; grows by one with each",
        "holder": "the session that may land; empty: nobody",
        "host": "the computer of the latest holder",
        "pid": "the process of the latest holder",
        "pid_started_at": "when that process started, seconds since 1970",
        "acquired_at": "since when it is held",
        "expires_at": "until when it is held unless it is renewed",
        "created_at": "when somebody first landed there",
    },
    "compensation_plans": {
        "plan_id": "`comp_` and a ULID",
        "run_id": "the run whose work is taken back",
        "workstream_id": "the workstream whose work is taken back",
        "ledger_id": "the entry that somebody asked to take back; empty after a failure",
        "entries": "every ledger entry that is taken back, the newest first",
        "reason": "why, in words",
        "operator": "the person who asked for it; empty after a failure",
        "on_failure": "what a failed action means for the others",
        "document": "the plan as it was given or put together",
        "outcome": "`done` or `failed`; empty while it is under way",
        "revert_ledger_id": "the entry whose commit takes the others back",
        "created_at": "when it was recorded, before its first action",
        "completed_at": "when its last action had ended",
        "metadata": "anything else worth keeping, by name",
    },
    "compensation_actions": {
        "action_id": "`act_` and a ULID; commands get it as `PATCHLINE_ACTION`",
        "plan_id": "the plan that it is a step of",
        "position": "its place in the order of execution, from 0",
        "task_id": "the task that declared it",
        "action": "what is done",
        "arguments": "with what: a command, names of gates, a message",
        "status": "how far it is",
        "attempts": "how often it was begun",
        "exit_code": "of its command or its gates",
        "output": "what it printed: head and tail, secrets removed",
        "output_bytes": "how much it printed in all, bytes",
        "reason": "why it failed or was left out, in words",
        "created_at": "when it was recorded",
        "started_at": "when it was last begun",
        "ended_at": "when it had ended, one way or the other",
        "metadata": "anything else worth keeping, by name",
    },
    "workstream_dependencies": {
        "ws_id": "who waits",
        "depends_on": "for whom",
    },
    "task_dependencies": {
        "task_id": "who waits",
        "depends_on": "for whom",
    },
    "task_gates": {
        "task_id": "the task",
        "gate_id": "the execution of a gate",
        "role": "`entry`: before the task may be queued; `exit`: judges its patch",
    },
    "state_transitions": {
        "transition_id": "order of writing; the event file keeps it",
        "event_id": "`evt_` and a ULID",
        "entity_type": "the machine",
        "entity_id": "the entity's key",
        "entity_version": "the entity's `version` after the change",
        "from_state": "`none` for a creation",
        "to_state": "equal to `from_state` for acts that change no state: a hold, a resume",
        "trigger": "what caused it",
        "reason": "why, in words",
        "severity": "info, warning, error or critical",
        "operator": "the person who did it by hand; empty: patchline itself",
        "metadata": "facts about the change; `extension: true` for one beyond the specification",
        "run_id": "the run that the entity belongs to",
        "workstream_id": "the workstream that it belongs to",
        "phase_id": "the plan revision of the run",
        "transitioned_at": "when it happened",
        "prev_hash": "`hash` of the entity's audit row before this one; empty for the first",
        "hash": "SHA-256 over this row and `prev_hash`",
    },
    "audit_checkpoints": {
        "checkpoint_id": "1, 2, 3 and so on, without a gap",
        "first_transition_id": "the first audit row under it",
        "last_transition_id": "the last audit row under it",
        "entries": "how many audit rows are under it",
        "root": "root of the Merkle tree over the rows' hashes",
        "prev_hash": "`hash` of the checkpoint before this one; empty for the first",
        "hash": "SHA-256 over the columns above and `created_at`",
        "created_at": "when it was made",
        "metadata": "anything else worth keeping, by name",
    },
}
"""Table -> column -> what it means, for the tables without a machine."""

_LISTED = "the rows in a state, oldest or newest first: lists, watchers, the counts of each state"
_OF_RUN = "all rows of one run"
_NEWEST = "the newest of a lineage: a re-run stands for its original"

INDEXES: Mapping[str, str] = {
    **{
        f"ix_{name}_state": _LISTED
        for name in (
            *("runs", "workstreams", "tasks", "workers", "uet_workers"),
            *("patch_ledger_entries", "test_gates"),
        )
    },
    **{
        f"ix_{name}_run_id": _OF_RUN
        for name in ("workstreams", "workers", "uet_workers", "patch_ledger_entries", "test_gates")
    },
    "ix_runs_dagster_run_id": "an op asks which run it belongs to",
    "ix_tasks_workstream_id": "the tasks of one workstream, and so of a run",
    "ix_tasks_worker_id": "a claim asks what a worker holds, recovery what a dead one held",
    "ix_tasks_retry_of": _NEWEST,
    "ix_tasks_queue": "the next task to hand out, in plan order",
    "ix_patch_ledger_entries_task_id": "the patches of one task: recovery, and what has landed",
    "ix_patch_ledger_entries_workstream_id": "what a workstream's end depends on; its landings",
    "ix_test_gates_task_id": "the gates of one task",
    "ix_test_gates_workstream_id": "the gates of one workstream, for its archive",
    "ix_test_gates_retry_of": _NEWEST,
    "ix_state_transitions_entity": "history of one entity",
    "ix_state_transitions_run_id": "history of one run, also from some event on",
    "ix_state_transitions_at": "what happened in a window of time: rates and failures",
    "ix_state_transitions_operator": "what people overrode in a window of time",
}
"""Index -> why it is there: `tests/state/test_query_plans.py` has the queries that need it."""

STATE_INDEX = "lists and watchers ask for the rows in a state"
PARENT_INDEX = "all rows of one parent"
UNKNOWN = "(not described)"
"""What the page says where a meaning is missing; a test refuses it."""
