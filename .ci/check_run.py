"""After `make run`: does git say what patchline says? Reads git and the status, nothing else.

Every committed ledger entry's commit is on the target exactly once with its trailers, its tree is
the tree that its gates passed on, the repository is sound, and no worktree is left behind.
"""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".state"
TRAILERS = ("Run", "Task", "Ledger", "Patch-SHA256", "Gates", "Audit")


def output(*argv: str) -> str:
    """What a command prints; its failure is ours."""
    return subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def main() -> None:
    """Check the newest run of this checkout's home; AssertionError says what does not hold."""
    patchline = str(Path(sys.executable).with_name("patchline"))
    status = json.loads(output(patchline, "status", "--json"))
    assert status["state"] == "succeeded", status["state"]
    with sqlite3.connect(HOME / "pipeline.db") as state:
        (repo,) = state.execute(
            "select repo from runs where run_id = ?", (status["run_id"],)
        ).fetchone()
        gated = dict(
            state.execute(
                "select ledger_id, group_concat(distinct tree) from test_gates"
                " where state = 'PASSED' and ledger_id is not null group by ledger_id"
            )
        )
    git = ("git", "-C", repo)
    on_target = output(*git, "rev-list", status["target"]).split()
    committed = [patch for patch in status["patches"] if patch["state"] == "committed"]
    assert committed, "nothing was committed"
    for patch in committed:
        sha = patch["commit_sha"]
        assert on_target.count(sha) == 1, f"{sha} is not on {status['target']} exactly once"
        message = output(*git, "show", "--no-patch", "--format=%(trailers)", sha)
        assert all(f"Patchline-{name}: " in message for name in TRAILERS), message
        assert patch["ledger_id"] in message, message
        tree = output(*git, "rev-parse", f"{sha}^{{tree}}").strip()
        assert gated[patch["ledger_id"]] == tree, f"{sha} is not the tree that was tested"
    ledgers = output(*git, "log", "--format=%(trailers:key=Patchline-Ledger,valueonly)", "main")
    assert sorted(ledgers.split()) == sorted(patch["ledger_id"] for patch in committed)
    assert "error" not in output(*git, "fsck", "--strict")
    assert len(output(*git, "worktree", "list", "--porcelain").strip().split("\n\n")) == 1
    assert not output(*git, "status", "--porcelain"), "the working tree did not follow"
    print(f"{len(committed)} commits checked in {repo}")


if __name__ == "__main__":
    main()
