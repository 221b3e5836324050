"""The record of a failed workstream, kept as a file before its state changes (decisions W8)."""

import json
from pathlib import Path
from typing import Any

from state.crash_points import crash_point
from state.run_view import workstream_history
from state.store import StateStore
from state.whole_files import keep_names, write_whole


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
        keep_names(home)
    write_whole(path, json.dumps(document, indent=2, ensure_ascii=False).encode())
    crash_point("archive-named", "a failed workstream's record is kept; its state is not failed")
    return path


def _plain(row: Any) -> dict[str, Any]:
    return row._asdict()
