"""Executes a run and dies at a chosen moment, as if the machine had lost its power.

Run as a program: `python dying_run.py REVISION SOURCE RUN_ID MODULE QUALNAME MOMENT`. The process
kills itself before or after (MOMENT) the named function's first call.
"""

import importlib
import os
import signal
import sys
from pathlib import Path
from typing import Any

from pipeline_defs.launch import execute_run
from pipeline_defs.revisions import open_revision
from state.home import Home


def die_at(module: str, qualname: str, moment: str) -> None:
    """Make a function end the process; a name imported elsewhere is named there."""
    owner: Any = importlib.import_module(module)
    *path, name = qualname.split(".")
    for part in path:
        owner = getattr(owner, part)
    original = getattr(owner, name)

    def dying(*args: Any, **kwargs: Any) -> Any:
        if moment == "after":
            original(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, dying)


if __name__ == "__main__":
    revision, source, run_id, *fault = sys.argv[1:]
    if fault:
        die_at(*fault)
    execute_run(Home.find(), open_revision(Path(revision), source), run_id)
