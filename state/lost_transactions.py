"""Doing a transaction again that the database has dropped (PostgreSQL: a deadlock, a restart).

Nothing of a lost transaction was kept, and its work begins by reading anew, so doing it again is
safe: every rule is checked again on what is there by then.
"""

import random
import time
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from state.errors import TransactionLostError

TRIES = 16
_PAUSE_SEC = 0.02
# Together at most 2.4 s: a server that cuts its sessions twenty times a second is not given up.
_P = ParamSpec("_P")
_T = TypeVar("_T")


def redone_when_lost(transaction: Callable[_P, _T]) -> Callable[_P, _T]:
    """For a function that is one transaction: it is called again, a few times, when that is lost.

    Raises:
        TransactionLostError: it was lost each time.
    """

    @wraps(transaction)
    def redone(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        for attempt in range(TRIES):
            try:
                return transaction(*args, **kwargs)
            except TransactionLostError:
                if attempt + 1 == TRIES:
                    raise
                # Two that have met in a deadlock must not meet again.
                time.sleep(_PAUSE_SEC * (attempt + 1) * random.random())
        raise AssertionError("unreachable")

    return redone
