"""Executes a run and dies at a chosen moment, as if the machine had lost its power."""

import importlib
import os
import signal
from pathlib import Path
from typing import Any

from pipeline_defs.launch import execute_run
from pipeline_defs.revisions import open_revision
from state.home import Home


def die_at(module: str, qualname: str, moment: str) -> None:
    """Kill the process `before` or `after` a function's first call.

    A name that is imported elsewhere is named there.
    """
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


def execute(revision: Path, source: str, run_id: str, *fault: str) -> None:
    """Execute a run of the home that the environment names; die where a fault is named."""
    if fault:
        die_at(*fault)
    execute_run(Home.find(), open_revision(revision, source), run_id)
