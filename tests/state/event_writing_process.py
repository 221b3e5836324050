"""Processes of their own that write events: without end, or some of them in vain."""

from multiprocessing.connection import Connection

from state.store import StateStore


def write(url: str, events: str, test: Connection) -> None:
    """Be ready, wait for the word to go, write; each worker is told when it is kept, and idle."""
    with StateStore.open(url, events=events) as store:
        test.send("ready")
        test.recv()
        while True:
            with store.batch() as tx:
                worker = tx.create("worker").worker_id
                tx.transition("worker", worker, "idle")
            test.send(worker)


def write_some_in_vain(url: str, events: str, test: Connection) -> None:
    """Be ready, wait for the word to go, write sixty transactions, of which twelve are undone.

    Having done so, it keeps its store open until the next word.
    """
    with StateStore.open(url, events=events) as store:
        test.send("ready")
        test.recv()
        for number in range(60):
            try:
                with store.batch() as tx:
                    worker = tx.create("worker").worker_id
                    if number % 5 == 2:
                        raise ZeroDivisionError
                    tx.transition("worker", worker, "idle")
            except ZeroDivisionError:
                pass
        test.send("done")
        test.recv()
