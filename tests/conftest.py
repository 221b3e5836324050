"""What holds for every test: no home, database or Dagster instance of the caller's is touched.

Temporary files are made in memory where there is enough of it: thousands of small repositories and
databases cost several times as much on a disk. `TMPDIR` says otherwise.
"""

import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

FOREIGN = ("PATCHLINE_HOME", "PATCHLINE_DATABASE_URL", "PATCHLINE_PLANS", "DAGSTER_HOME")

MEMORY, ENOUGH_BYTES = Path("/dev/shm"), 4 << 30

for name in FOREIGN:
    os.environ.pop(name, None)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # begun in the background of a script
    signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ["DAGSTER_DISABLE_TELEMETRY"] = "yes"


def memory_serves() -> bool:
    """Whether there is a folder in memory with room, that programs may be run from."""
    return (
        os.access(MEMORY, os.W_OK | os.X_OK)
        and not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC
        and shutil.disk_usage(MEMORY).free >= ENOUGH_BYTES
    )


TOGETHER = {
    "tests/dagster/test_graphql.py": "a deployment of Dagster",
    "tests/dagster/test_ui.py": "a deployment of Dagster",
    "tests/property/test_model_check.py": "the worlds of the model",
    "tests/state/test_query_plans.py": "the big database",
}
"""Files of tests whose fixtures are dear, and what they share."""


class Scheduler(LoadScopeScheduling):
    """Tests that share something are run by one process, all others by whichever is free."""

    def _split_scope(self, nodeid: str) -> str:
        return TOGETHER.get(nodeid.partition("::")[0], nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduler:
    """The mark `xdist_group` has no effect under pytest 9.2 (pytest-xdist issue 1386)."""
    return Scheduler(config, log)


if "TMPDIR" not in os.environ and memory_serves():
    os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)
