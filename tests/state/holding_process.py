"""A process of its own that holds a SQLite file's write lock until it is told to let go."""

import sqlite3
import sys


def main(path: str) -> None:
    """Say when the lock is held; let go at the next line of input."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    print("held", flush=True)
    sys.stdin.readline()
    connection.execute("ROLLBACK")
    connection.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
