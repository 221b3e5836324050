"""A run that is over, with patches that have landed: what rollbacks begin with.

Real git and a real store, without the time that executing a plan takes.
"""

import hashlib
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from resources.rollback.manager import RollbackManager
from resources.specs import (
    Compensation,
    GateSpec,
    OnNoChange,
    PolicySpec,
    RetrySpec,
    RunSpec,
    TaskSpec,
    ToolSpec,
    WorkstreamSpec,
)
from state.home import Home
from state.store import StateStore
from tests.new_databases import new_database
from tests.resources.gitbox import GitBox

LINES = "".join(f"{n}\n" for n in range(1, 10))
FLAGS = dict.fromkeys(("format_ok", "scope_ok", "constraints_ok"), True)


class Landed:
    """A run `run` with the workstream `core`, whose patches are on main or on their own branch.

    Args:
        folder: where everything goes.
        files: what the repository begins with.
        gate: the command of the only gate, `ok`.
        url: the database, instead of the home's file.
    """

    def __init__(
        self,
        folder: Path,
        files: dict[str, str] | None = None,
        gate: Sequence[str] = ("true",),
        url: str | None = None,
    ) -> None:
        self.folder, self.home = folder, Home.at(folder / "home", url)
        self.box = GitBox(folder, files or {"a.txt": LINES, "b.txt": LINES})
        self.repository = self.box.repository
        self.gate = tuple(gate)
        if url is None:
            new_database(self.home.root / "pipeline.db")
        self.store = StateStore.open(self.home.database_url, events=self.home.events)
        self.run_id = self.store.create(
            "run", repo=str(self.box.path), target="main", base_commit=self.box.head()
        ).run_id
        self.store.transition("run", self.run_id, "running")
        self.compensations: dict[str, tuple[Compensation, ...]] = {}
        self.ws_id, self.branch = "", "main"
        self.stream("core")

    def stream(self, slug: str, branch: str = "main") -> None:
        """Begin a workstream whose patches lie on a branch."""
        head = self.box.head()
        self.slug, self.branch = slug, branch
        self.ws_id = self.store.create(
            "workstream", run_id=self.run_id, slug=slug, branch=branch, base_commit=head
        ).ws_id
        for state in ("ready", "executing"):
            self.store.transition("workstream", self.ws_id, state)
        if branch != "main":
            self.box.git("branch", branch, head)

    def patch(
        self,
        name: str,
        files: Mapping[str, str | None],
        *compensation: Compensation,
    ) -> Any:
        """Land a patch of a new task on the branch; its ledger entry."""
        store, base = self.store, self.box.head(self.branch)
        commit = self.box.commit(dict(files), on=base)
        self.move(commit)
        self.compensations[f"{self.slug}/{name}"] = compensation
        task_id = store.create("task", workstream_id=self.ws_id, slug=name).task_id
        store.transition("task", task_id, "queued")
        worker = store.create("worker", run_id=self.run_id).worker_id
        store.transition("worker", worker, "idle")
        claim = store.claim_task(worker, task_id=task_id)
        assert claim is not None
        entry = self._entry(task_id, claim.token, base, commit)
        for state in ("validating", "completed"):
            store.transition("task", task_id, state)
        store.transition("worker", worker, "idle")
        store.transition("worker", worker, "shutdown")
        return store.get("patch_ledger", entry)

    def _entry(self, task_id: str, token: str, base: str, commit: str) -> str:
        store, tree = self.store, self.repository.tree_of(commit)
        diff = self.box.git("diff", base, commit).encode()
        patch = store.create(
            "patch",
            task_id=task_id,
            sha256=hashlib.sha256(diff).hexdigest(),
            base_commit=base,
            tree=tree,
            diff=diff,
        )
        key = store.create(
            "patch_ledger", patch_id=patch.patch_id, task_id=task_id, attempt_id=token
        ).ledger_id
        store.transition("patch_ledger", key, "validated", **FLAGS)
        store.transition("patch_ledger", key, "queued")
        store.transition("patch_ledger", key, "applied", base_commit=base, candidate_tree=tree)
        about = {"candidate_commit": commit, "tests_ok": True, "commit_date": store.now()}
        store.transition("patch_ledger", key, "verified", **about)
        store.transition("patch_ledger", key, "committed", commit_sha=commit)
        return key

    def person(self, files: Mapping[str, str | None]) -> str:
        """A commit of a person on main."""
        commit = self.box.commit(dict(files))
        self.move(commit, "main")
        return commit

    def move(self, commit: str, branch: str | None = None) -> None:
        """Move a branch, with the checkout where it is checked out."""
        branch = branch or self.branch
        if branch == "main":
            self.box.git("reset", "-q", "--hard", commit)
        else:
            self.box.git("update-ref", f"refs/heads/{branch}", commit)

    def end(self, state: str = "completed") -> None:
        """The workstream ends so, and the run with it."""
        if state == "completed":
            head = self.box.head(self.branch)
            self.store.transition("workstream", self.ws_id, "validating", head_commit=head)
        self.store.transition("workstream", self.ws_id, state, reason="it is over")
        self.store.transition("run", self.run_id, "succeeded" if state == "completed" else "failed")

    def spec(self, run_id: str = "") -> RunSpec:
        """The plan of the run."""
        del run_id
        tool = ToolSpec(command=("true",))
        tasks = {
            name: TaskSpec(
                id=name,
                title=name,
                prompt="",
                tool_id="tool",
                tool=tool,
                scope=("**",),
                gates=("ok",),
                timeout_sec=60,
                retry=RetrySpec(),
                on_no_change=OnNoChange.FAIL,
                compensation=actions,
            )
            for name, actions in self.compensations.items()
        }
        streams = {name.partition("/")[0] for name in tasks}
        return RunSpec(
            plan="trial",
            plan_dir=str(self.folder),
            policy=PolicySpec(),
            gates={"ok": GateSpec(command=self.gate)},
            workstreams={
                slug: WorkstreamSpec(id=slug, title=slug, gates=("ok",)) for slug in streams
            },
            tasks=tasks,
            capabilities=frozenset(),
            max_concurrent=1,
        )

    def manager(self, stop: threading.Event | None = None) -> RollbackManager:
        """The manager of the run, in this process."""
        return RollbackManager(
            self.store,
            self.home,
            self.repository,
            self.run_id,
            self.spec,
            stop or threading.Event(),
        )

    def roll_back(self, entry: Any, **more: Any) -> Any:
        """Take an entry back; the report."""
        asked = {"reason": "it is bad", "operator": "ann", **more}
        return self.manager().roll_back(entry.ledger_id, **asked)

    def state(self, entry: Any) -> str:
        return self.store.get("patch_ledger", entry.ledger_id).state

    def show(self, path: str, branch: str = "main") -> str:
        return self.box.git("show", f"{branch}:{path}") + "\n"

    def actions(self, plan_id: str) -> list[Any]:
        """The actions of a plan, in order."""
        rows = self.store.find("compensation_action", plan_id=plan_id)
        return sorted(rows, key=lambda row: row.position)


def changed(number: int, word: str, text: str = LINES) -> str:
    """A text with one of its lines, counted from 1, replaced."""
    lines = text.splitlines()
    lines[number - 1] = word
    return "".join(f"{line}\n" for line in lines)
