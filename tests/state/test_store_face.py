"""Creating, reading, updating, batches, audit rows and severities."""

import sqlite3
from pathlib import Path

import pytest

from state.errors import (
    EntityExistsError,
    EntityNotFoundError,
    GuardNotSatisfied,
    InvalidTransitionError,
    PatchlineError,
    StaleTokenError,
    StoreUnavailableError,
    StoreUsageError,
    TerminalStateViolation,
)
from state.queries import history
from state.store import StateStore
from tests.state.world import World


def test_rows_that_others_refer_to_need_only_their_parent(world: World) -> None:
    store = world.store
    ws = world.ws_id
    assert store.create("run", phase_id=None).state == "pending"
    task = store.create("task", task_id=None, workstream_id=ws)
    assert (task.state, task.version, task.max_retries, task.metadata) == ("pending", 1, 3, {})
    entry = store.create("patch_ledger", task_id=None, patch_id=None, workstream_id=ws)
    assert (entry.state, entry.run_id) == ("created", world.run_id)
    gate = store.create("test_gate", gate_type="UNIT", command=["pytest"])
    assert (gate.command, gate.expected_exit_codes) == (["pytest"], [0])
    assert store.create("worker").state == "initializing"
    assert store.create("uet_worker").state == "SPAWNING"
    assert store.create("circuit_breaker", tool_id="ruff").tool_id == "ruff"
    sha = "ab" * 32
    assert store.create("phase", plan="p", sha256=sha, document="x").phase_id == f"p@{sha[:12]}"
    patch = store.create("patch", sha256=sha, base_commit="b", diff=b"\x00")
    assert (patch.patch_id, patch.diff) == ("patch_000001", b"\x00")


def test_an_id_may_be_given_by_its_column_name_and_is_taken_once(world: World) -> None:
    assert world.store.create("run", run_id="r1").run_id == "r1"
    with pytest.raises(EntityExistsError):
        world.store.create("run", run_id="r1")


def test_a_missing_row_or_parent_is_named(world: World) -> None:
    with pytest.raises(EntityNotFoundError, match="no task 'nope'"):
        world.store.get("task", "nope")
    with pytest.raises(EntityNotFoundError) as orphan:
        world.store.create("task", workstream_id="ws_nope")
    assert (orphan.value.entity_type, orphan.value.entity_id) == ("workstream", "ws_nope")
    with pytest.raises(GuardNotSatisfied, match="workstream_id"):
        world.store.create("task")
    with pytest.raises(GuardNotSatisfied, match="tool_id"):
        world.store.create("circuit_breaker")


@pytest.mark.parametrize(
    "wrong",
    [
        lambda store, task: store.create("ghost"),
        lambda store, task: store.create("run", colour="red"),
        lambda store, task: store.create("run", version=7),
        lambda store, task: store.create("task_attempt"),
        lambda store, task: store.find("task", colour="red"),
        lambda store, task: store.transition("task", task, "queued", is_critical=False),
        lambda store, task: store.transition("patch", "p", "queued"),
        lambda store, task: store.update("task", task, state="completed"),
        lambda store, task: store.update("task", task, worker_id="w"),
        lambda store, task: store.update("task", task, completed_at="2026-01-01T00:00:00Z"),
        lambda store, task: store.add_dependency("task", task, task),
        lambda store, task: store.add_dependency("run", task, task),
        lambda store, task: store.add_task_gate(task, "g", "sideways"),
        lambda store, task: store.transition("task", task, "queued", started_at="soon"),
    ],
)
def test_what_the_store_does_not_have_is_refused(world: World, wrong: object) -> None:
    task = world.make("task")
    before = world.store.get("task", task)
    with pytest.raises(StoreUsageError):
        wrong(world.store, task)  # type: ignore[operator]
    assert world.store.get("task", task) == before


def test_a_new_row_begins_in_its_initial_state(world: World) -> None:
    with pytest.raises(InvalidTransitionError):
        world.store.create("run", state="running")
    with pytest.raises(GuardNotSatisfied):
        world.store.create("run", completed_at="2030-01-01T00:00:00Z")


def test_find_compares_columns(world: World) -> None:
    store = world.store
    tasks = [
        world.make("task", slug=slug, tool_id=tool) for slug, tool in zip("abc", "xyx", strict=True)
    ]
    store.transition("task", tasks[1], "queued")
    assert [row.task_id for row in store.find("task", workstream_id=world.ws_id)] == tasks
    assert [row.task_id for row in store.find("task", state="queued")] == [tasks[1]]
    assert [row.slug for row in store.find("task", slug=["a", "c"])] == ["a", "c"]
    assert len(store.find("task", worker_id=None, limit=2)) == 2


def test_creation_and_every_change_are_audited_with_their_context(world: World) -> None:
    task = world.make("task", slug="imports")
    world.go("task", task, "queued", "running", "failed", reason="exit code 2")
    rows = history(world.store, "task", task)
    assert [(row.from_state, row.to_state, row.trigger, row.severity) for row in rows] == [
        ("none", "pending", "created", "info"),
        ("pending", "queued", "scheduler_assigned", "info"),
        ("queued", "running", "worker_started", "info"),
        ("running", "failed", "execution_failed", "error"),
    ]
    assert [row.entity_version for row in rows] == [1, 2, 3, 4]
    assert {(row.run_id, row.workstream_id) for row in rows} == {(world.run_id, world.ws_id)}
    assert rows[-1].reason == world.store.get("task", task).reason == "exit code 2"


def test_the_context_reaches_the_plan_revision(world: World) -> None:
    store = world.store
    phase = store.create("phase", phase_id="p@1", plan="p", sha256="1", document="")
    run = store.create("run", phase_id=phase.phase_id)
    ws = store.create("workstream", run_id=run.run_id)
    task = store.create("task", workstream_id=ws.ws_id)
    gate = store.create("test_gate", gate_type="UNIT", task_id=task.task_id)
    (row,) = history(store, "test_gate", gate.gate_id)
    assert (row.run_id, row.workstream_id, row.phase_id) == (run.run_id, ws.ws_id, "p@1")
    assert (gate.run_id, gate.workstream_id) == (run.run_id, ws.ws_id)


def test_a_critical_workstreams_failure_is_critical_and_an_operators_change_a_warning(
    world: World,
) -> None:
    for critical, severity in ((True, "critical"), (False, "error")):
        ws = world.make("workstream", is_critical=critical)
        record = world.go("workstream", ws, "ready", "executing", "failed")
        assert record.severity == severity
    task = world.make("task")
    record = world.store.transition("task", task, "queued", operator="ann")
    assert (record.severity, record.as_event()["event_type"]) == ("warning", "manual_override")


def test_a_failed_batch_leaves_nothing(world: World) -> None:
    store, task = world.store, world.make("task")
    lines = store.events.path.read_bytes()

    def half() -> None:
        with store.batch() as tx:
            tx.transition("task", task, "queued")
            tx.create("worker")
            assert tx.get("task", task).state == "queued"
            assert len(tx.find("worker")) == 1
            tx.transition("task", task, "completed")

    with pytest.raises(InvalidTransitionError):
        half()
    assert store.get("task", task).state == "pending"
    assert store.find("worker") == []
    assert store.events.path.read_bytes() == lines


def test_a_batch_is_one_transaction_and_forbids_the_stores_own_methods(world: World) -> None:
    store, task = world.store, world.make("task")
    with store.batch() as tx:
        tx.transition("task", task, "queued")
        assert store.get("task", task).state == "pending"
        with pytest.raises(StoreUsageError, match="inside a batch"):
            store.transition("task", task, "cancelled")
    assert store.get("task", task).state == "queued"


def test_an_update_changes_columns_and_neither_version_nor_history(world: World) -> None:
    store, task = world.store, world.make("task")
    world.clock.advance(1)
    row = store.update("task", task, feedback="try harder", metadata={"a": 1})
    assert (row.feedback, row.metadata, row.version) == ("try harder", {"a": 1}, 1)
    assert row.updated_at > row.created_at
    assert len(history(store, "task", task)) == 1


def test_an_ended_row_keeps_all_but_its_metadata(world: World) -> None:
    task = world.make_in("task", "completed")
    with pytest.raises(TerminalStateViolation):
        world.store.update("task", task, feedback="late")
    assert world.store.update("task", task, metadata={"seen": True}).metadata == {"seen": True}


def test_a_hold_is_an_audit_row_of_its_own_kind(world: World) -> None:
    store = world.store
    record = store.record("run", world.run_id, "held", operator="ann", reason="lunch", held=True)
    assert (record.from_state, record.to_state, record.trigger) == ("pending", "pending", "held")
    assert (record.severity, record.entity_version) == ("warning", 1)
    assert store.get("run", world.run_id).held is True


def test_leaving_running_releases_the_worker_and_closes_the_attempt(world: World) -> None:
    store, task = world.store, world.make_in("task", "running")
    running = store.get("task", task)
    record = store.transition(
        "task", task, "retrying", trigger="timeout_exceeded", reason="slow", exit_code=124
    )
    row = store.get("task", task)
    assert (row.worker_id, row.token, row.timeout_occurred) == (None, None, True)
    assert record.metadata["worker_id"] == "w1"
    attempt = store.get("task_attempt", running.token)
    assert (attempt.number, attempt.outcome, attempt.reason) == (1, "retrying", "slow")
    assert (attempt.exit_code, attempt.ended_at) == (124, row.updated_at)
    world.go("task", task, "queued", "running")
    assert [one.number for one in store.find("task_attempt", task_id=task)] == [1, 2]
    assert store.get("task", task).attempts == 2


def test_a_late_write_with_an_old_token_is_refused(world: World) -> None:
    store, task = world.store, world.make_in("task", "running")
    old = store.get("task", task).token
    entry = world.make("patch_ledger", task_id=task, attempt_id=old)
    store.update("patch_ledger", entry, token=old, candidate_tree="t1")
    store.update("task_attempt", old, token=old, output="hello")
    world.go("task", task, "retrying", "queued", "running")
    live = store.get("task", task).token
    for write in (
        lambda: store.transition("task", task, "validating", token=old),
        lambda: store.update("task", task, token=old, feedback="x"),
        lambda: store.update("patch_ledger", entry, token=old, candidate_tree="t2"),
        lambda: store.update("patch_ledger", entry, token=live, candidate_tree="t2"),
        lambda: store.update("task_attempt", old, token=old, output="x"),
    ):
        with pytest.raises(StaleTokenError) as stale:
            write()
        assert stale.value.code == "stale_token"
    store.transition("task", task, "validating", token=live)


def test_a_heartbeat_is_neither_a_transition_nor_audited(world: World) -> None:
    store, worker = world.store, world.make_in("worker", "idle")
    before = len(history(store, "worker", worker))
    world.clock.advance(60)
    store.heartbeat(worker)
    row = store.get("worker", worker)
    assert row.heartbeat_at == store.now()
    assert (row.version, len(history(store, "worker", worker))) == (2, before)


def test_a_worker_that_was_shut_down_is_told_so(world: World) -> None:
    worker = world.make_in("worker", "shutdown")
    with pytest.raises(TerminalStateViolation):
        world.store.heartbeat(worker)
    with pytest.raises(StaleTokenError):
        world.store.heartbeat(worker, token="old")
    with pytest.raises(EntityNotFoundError):
        world.store.heartbeat("nobody")


def test_all_errors_have_one_root_and_a_code_of_their_own() -> None:
    kinds = [PatchlineError]
    for kind in kinds:
        kinds.extend(kind.__subclasses__())
    assert len({kind.code for kind in kinds}) == len(kinds) >= 15


def test_a_foreign_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE songs (title)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(StoreUnavailableError, match="not patchline's"):
        StateStore.open(f"sqlite:///{path}")
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"this is no database at all", b"\x00" * 5000])
def test_a_file_that_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "p.db"
    path.write_bytes(content)
    with pytest.raises(StoreUnavailableError):
        StateStore.open(f"sqlite:///{path}")
    assert path.read_bytes() == content


@pytest.mark.parametrize("url", ["sqlite://", "nonsense", "mysql://x/y", "sqlite:///:memory:"])
def test_an_address_that_cannot_be_used_is_refused(url: str) -> None:
    with pytest.raises(StoreUsageError):
        StateStore.open(url)


def test_a_reopened_store_has_everything_and_makes_its_folder(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'deep' / 'er' / 'p.db'}"
    with StateStore.open(url) as store:
        run = store.create("run").run_id
    store.close()
    with pytest.raises(StoreUsageError, match="closed"):
        store.create("run")
    with StateStore.open(url) as store:
        assert store.get("run", run).state == "pending"


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_sqlite_is_run_for_durability(store: StateStore) -> None:
    read = lambda name: store.look(lambda c: c.driver.execute(f"PRAGMA {name}").fetchone()[0])  # noqa: E731
    assert read("journal_mode") == "wal"
    assert read("synchronous") == 2
    assert read("foreign_keys") == 1
    assert read("busy_timeout") == 120_000


def test_text_that_is_no_unicode_is_kept_as_escapes(world: World) -> None:
    task = world.make_in("task", "running")
    record = world.store.transition(
        "task", task, "failed", reason="a\udcff\0b ünd", feedback="\udc80"
    )
    row = world.store.get("task", task)
    assert record.reason == row.reason == "a\\udcff\\x00b ünd"
    assert row.feedback == "\\udc80"


def test_a_gate_that_ran_out_of_time_says_so(world: World) -> None:
    gate = world.make_in("test_gate", "RUNNING")
    world.store.transition("test_gate", gate, "FAILED", trigger="timeout_exceeded", exit_code=124)
    assert world.store.get("test_gate", gate).timed_out is True
