"""New SQLite databases: copies of one that the store made, which takes several times as long."""

import atexit
import shutil
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from state.store import StateStore


def new_database(path: Path) -> str:
    """Put a database to which nothing was written at a path, unless there is one; its address."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(_pristine(), path)
    return f"sqlite:///{path}"


@cache
def _pristine() -> Path:
    folder = Path(mkdtemp(prefix="patchline-new-"))
    atexit.register(shutil.rmtree, folder)
    StateStore.open(f"sqlite:///{folder / 'pipeline.db'}").close()
    return folder / "pipeline.db"
