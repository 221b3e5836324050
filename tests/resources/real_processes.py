"""Commands run for real through `run_process`, and what became of their processes."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from resources.commands.environment import allowed_environment
from resources.commands.processes import ProcessResult, run_process


def run(tmp_path: Path, *argv: str, **options: Any) -> ProcessResult:
    options.setdefault("timeout_sec", 20)
    options.setdefault("env", allowed_environment())
    return run_process(argv, cwd=tmp_path, **options)


def python(tmp_path: Path, code: str, *args: str, **options: Any) -> ProcessResult:
    return run(tmp_path, sys.executable, "-S", "-E", "-c", code, *args, **options)


def alive(pid: int) -> bool:
    """Also a zombie counts: it was to be reaped."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def eventually(condition: Callable[[], bool], seconds: float = 10) -> bool:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.005)
    return True
