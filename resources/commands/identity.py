"""Which process is it? A pid alone does not say: pids are used again."""

import psutil


def process_started_at(pid: int) -> float | None:
    """When a process started (seconds since the epoch), or None when it is gone or a zombie.

    Together with the pid it names one process for good: pids are used again.
    """
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.NoSuchProcess:
        return None
