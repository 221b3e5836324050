"""Where patchline keeps its things: `$PATCHLINE_HOME`, or `.state` in the current folder.

Source: design section 2, "Home".
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Home:
    """The folders and files of one home. `root` is absolute."""

    root: Path
    database_url: str

    @classmethod
    def find(cls, env: Mapping[str, str] | None = None) -> "Home":
        """The home that the environment names; nothing is created."""
        env = os.environ if env is None else env
        root = Path(env.get("PATCHLINE_HOME") or ".state").absolute()
        return cls.at(root, env.get("PATCHLINE_DATABASE_URL") or None)

    @classmethod
    def at(cls, root: Path, database_url: str | None = None) -> "Home":
        """The home in a folder; its own SQLite file unless a database is named."""
        return cls(root, database_url or f"sqlite:///{root / 'pipeline.db'}")

    def create(self) -> None:
        """Make the folder; a new one tells git that nothing in it belongs to a repository.

        The usual home lies in the user's own checkout, and would be reported as untracked there.
        A folder that holds something already is left as it is: it may be anything. Idempotent.

        Raises:
            OSError: it cannot be written.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        if not any(self.root.iterdir()):
            (self.root / ".gitignore").write_text("*\n", encoding="utf-8")

    @property
    def worktrees(self) -> Path:
        """Sandboxes."""
        return self.root / "worktrees"

    @property
    def plans(self) -> Path:
        """Write-once plan revisions."""
        return self.root / "plans"

    @property
    def dagster(self) -> Path:
        """DAGSTER_HOME."""
        return self.root / "dagster"

    @property
    def events(self) -> Path:
        """The JSONL projection of the audit log."""
        return self.root / "transitions.jsonl"
