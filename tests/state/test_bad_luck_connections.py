"""PostgreSQL sessions cut at every point of a transaction: it is kept once, whatever happens."""

from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import psycopg
import pytest

from state.errors import TransactionLostError
from state.postgresql import PostgresqlDatabase
from state.queries import history
from state.store import StateStore
from tests import postgres
from tests.state.knife import Knife, terminate, world_under
from tests.state.load import Load, assert_nothing_lost_and_nothing_twice
from tests.state.private_postgres import private_server
from tests.state.soundness import assert_sound, plain
from tests.state.world import World


@pytest.fixture
def address() -> Iterator[str]:
    with postgres.database() as url:
        yield url


@pytest.fixture
def knife(address: str) -> Knife:
    return Knife(terminate(address))


@pytest.fixture
def cuttable(knife: Knife, address: str, tmp_path: Path) -> Iterator[World]:
    world = world_under(knife, address, tmp_path)
    with world.store:
        yield world


def test_cut_before_any_statement_a_call_is_done_once(cuttable: World, knife: Knife) -> None:
    store = cuttable.store
    for place in range(100):
        task, worker = cuttable.make_in("task", "queued"), cuttable.make_in("worker", "idle")
        knife.statement, before = place, knife.cuts
        claim = store.claim_task(worker)
        if knife.cuts == before:
            break
        assert claim is not None
        assert (claim.task_id, claim.attempt) == (task, 1)
        assert states(store, "task", task) == ["pending", "queued", "running"]
        assert states(store, "worker", worker) == ["initializing", "idle", "busy"]
    assert place > 6  # a claim has more statements than that: each was cut
    knife.statement = None
    assert_sound(cuttable.url, store.events.path)


@pytest.mark.parametrize("when", ["before", "after"])
def test_cut_at_the_commit_a_call_is_done_once(cuttable: World, knife: Knife, when: str) -> None:
    store = cuttable.store
    task, worker = cuttable.make("task"), cuttable.make("worker")
    knife.commit = when
    store.transition("task", task, "queued")
    knife.commit = when
    store.transition("worker", worker, "idle")
    knife.commit = when
    claim = store.claim_task(worker)
    assert claim is not None
    knife.commit = when
    store.heartbeat(worker, token=claim.token)
    knife.commit = when
    made = store.create("task", workstream_id=cuttable.ws_id).task_id
    assert knife.cuts == 5
    assert states(store, "task", task) == ["pending", "queued", "running"]
    assert states(store, "task", made) == ["pending"]
    assert len(store.find("task")) == 2
    assert_sound(cuttable.url, store.events.path)


def test_a_batch_that_is_cut_is_lost_whole_and_says_so(cuttable: World, knife: Knife) -> None:
    store = cuttable.store
    knife.statement = 4
    with pytest.raises(TransactionLostError, match=r"terminating connection.*do it again"):
        make_three_workers(store)
    assert store.find("worker") == []
    make_three_workers(store)
    assert len(store.find("worker")) == 3
    assert_sound(cuttable.url, store.events.path)


def test_a_cut_that_a_batch_swallows_keeps_nothing(cuttable: World, knife: Knife) -> None:
    store = cuttable.store

    def go_on_regardless() -> None:
        with store.batch() as tx:
            knife.statement = 1
            for _ in range(3):
                with suppress(psycopg.Error):
                    tx.create("worker")

    with pytest.raises(TransactionLostError):
        go_on_regardless()
    assert store.find("worker") == []


def test_the_proof_of_a_transaction_is_its_last_audit_row(address: str, tmp_path: Path) -> None:
    with StateStore.open(address, events=tmp_path / "events.jsonl") as store:
        assert isinstance(store.database, PostgresqlDatabase)
        with store.batch() as tx:
            worker = tx.create("worker").worker_id
            record = tx.transition("worker", worker, "idle")
            assert vars(tx.connection)["last_event"] == record.event_id
        with store.batch() as tx:
            assert vars(tx.connection)["last_event"] is None


def test_a_number_given_again_after_a_crash_proves_nothing(tmp_path: Path) -> None:
    with private_server() as server:
        server.run("ALTER SYSTEM SET wal_writer_delay = '1s'")
        server.run("SELECT pg_reload_conf()")
        numbers: list[int] = []

        def crash_and_give_the_number_again(pid: int) -> None:
            query = f"SELECT backend_xid::text FROM pg_stat_activity WHERE pid = {pid}"
            wanted = int(server.run(query)[0][0])
            server.restart("immediate")
            while not numbers or numbers[-1] < wanted:
                numbers.append(int(server.run("SELECT pg_current_xact_id()::text")[0][0]))
            assert wanted in numbers, "the server has kept the number: nothing was tried"
            assert server.run(f"SELECT pg_xact_status('{wanted}')") == [("committed",)]

        knife = Knife(crash_and_give_the_number_again)
        world = world_under(knife, server.url, tmp_path)
        with closing(world.store) as store:
            knife.commit = "before"
            task = world.make("task")
            assert knife.cuts == 1
            assert states(store, "task", task) == ["pending"]
            assert_sound(server.url, store.events.path)


def test_sessions_cut_again_and_again_lose_nothing(cuttable: World) -> None:
    world, load = cuttable, Load(cuttable)

    def cut_every_session() -> None:
        with plain(world.url) as connection:
            for _ in range(25):
                load.work_until(load.done + 3)
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )

    tally = load.during(cut_every_session)
    assert_nothing_lost_and_nothing_twice(world, tally)
    world.store.events.catch_up()
    assert_sound(world.url, world.store.events.path)


def make_three_workers(store: StateStore) -> None:
    with store.batch() as tx:
        for _ in range(3):
            tx.create("worker")


def states(store: StateStore, entity_type: str, entity_id: str) -> list[str]:
    return [record.to_state for record in history(store, entity_type, entity_id)]
