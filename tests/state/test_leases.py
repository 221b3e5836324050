"""One holder for each branch, known by a token that only grows."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from state import leases
from state.clock_and_ids import ManualClock
from state.leases import Held, Holder, Lease, StaleLeaseError
from state.lost_transactions import redone_when_lost
from state.store import StateStore

ANN, BEN = (Holder(name, "host", number, "1.0") for number, name in enumerate(("ann", "ben")))
TTL = 30.0


@redone_when_lost
def do(store: StateStore, work: Any, *args: Any, **more: Any) -> Any:
    with store.batch() as tx:
        return work(tx, *args, **more)


def ask(store: StateStore, who: Holder, branch: str = "main", **more: Any) -> Lease | Held:
    return do(store, leases.acquire, "/repo", branch, who, TTL, **more)


def take(store: StateStore, who: Holder, **more: Any) -> Lease:
    lease = ask(store, who, **more)
    assert isinstance(lease, Lease)
    return lease


def test_who_asks_second_is_told_who_holds_it(store: StateStore) -> None:
    take(store, ANN)
    held = ask(store, BEN)
    assert isinstance(held, Held)
    assert (held.branch, held.holder, held.host, held.pid) == ("main", "ann", "host", 0)
    assert isinstance(ask(store, BEN, "other"), Lease)


def test_the_token_grows_with_every_new_holder(store: StateStore) -> None:
    first = take(store, ANN)
    assert do(store, leases.release, first)
    second = take(store, BEN, known=None)
    assert do(store, leases.release, second)
    assert (first.token, second.token) == (1, 2)
    assert take(store, ANN, known=first.token).token == 3


def test_who_comes_back_when_nobody_had_it_keeps_the_token(store: StateStore) -> None:
    first = take(store, ANN)
    assert do(store, leases.release, first)
    assert take(store, ANN, known=first.token) == first
    assert take(store, ANN).token == 2


def test_an_expired_lease_goes_to_whoever_asks(store: StateStore, clock: ManualClock) -> None:
    first = take(store, ANN)
    clock.advance(TTL - 1)
    do(store, leases.renew, first, TTL)
    clock.advance(TTL - 1)
    assert isinstance(ask(store, BEN), Held)
    clock.advance(1)
    store.look(lambda connection: leases.check(connection, first))
    assert take(store, BEN).token == 2
    for refused in (leases.renew, leases.raise_token):
        with pytest.raises(StaleLeaseError, match="token 1 on branch main"):
            do(store, refused, first, 60)
    with pytest.raises(StaleLeaseError):
        store.look(lambda connection: leases.check(connection, first))
    assert not do(store, leases.release, first)
    assert isinstance(ask(store, ANN), Held)


def test_a_holder_that_is_gone_is_taken_over_at_once(store: StateStore) -> None:
    take(store, ANN)
    assert isinstance(ask(store, BEN, gone="carl"), Held)
    assert take(store, BEN, gone="ann").token == 2


def test_a_token_that_git_knows_and_the_database_has_forgotten_is_passed_over(
    store: StateStore,
) -> None:
    raised = do(store, leases.raise_token, take(store, ANN), 41)
    assert raised.token == 42
    store.look(lambda connection: leases.check(connection, raised))
    assert store.look(lambda connection: leases.held_in(connection, "/repo"))[0].holder == "ann"
    do(store, leases.release, raised)
    assert store.look(lambda connection: leases.held_in(connection, "/repo")) == []


def test_of_many_that_ask_at_once_one_gets_it(store: StateStore) -> None:
    who = [Holder(f"holder{number}", "host", number, "1.0") for number in range(8)]
    with ThreadPoolExecutor(len(who)) as pool:
        got = list(pool.map(lambda one: ask(store, one), who))
    assert sum(isinstance(one, Lease) for one in got) == 1


def test_a_database_is_told_from_others_by_its_first_audit_row(store: StateStore) -> None:
    named = store.look(leases.identity_of)
    assert named.startswith("evt_")
    store.create("worker")
    assert store.look(leases.identity_of) == named
