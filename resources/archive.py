"""The record of a failed workstream, kept as a file before its state changes (decisions W8)."""

import json
import os
from pathlib import Path
from typing import Any

from state.run_view import workstream_history
from state.store import StateStore


def archive_workstream(store: StateStore, home: Path, ws_id: str, reason: str) -> Path:
    """Write `archive/<ws_id>.json`: the workstream with tasks, gates, ledger and transitions.

    Written whole or not at all; writing it again replaces it.
    """
    tasks = store.find("task", workstream_id=ws_id)
    document = {
        "reason": reason,
        "workstream": _plain(store.get("workstream", ws_id)),
        "tasks": [_plain(row) for row in tasks],
        "gates": [_plain(row) for row in store.find("test_gate", workstream_id=ws_id)],
        "ledger": [_plain(row) for row in store.find("patch_ledger", workstream_id=ws_id)],
        "transitions": [_plain(row) for row in workstream_history(store, ws_id)],
    }
    path = home / "archive" / f"{ws_id}.json"
    if not path.parent.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        _keep_name(home)
    scratch = path.with_suffix(f".{os.getpid()}.tmp")
    with scratch.open("w", encoding="utf-8") as file:
        json.dump(document, file, indent=2, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)
    _keep_name(path.parent)
    return path


def _keep_name(folder: Path) -> None:
    """Put a folder's entries on disk: the name of a file outlives a power cut only then."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _plain(row: Any) -> dict[str, Any]:
    return row._asdict()
