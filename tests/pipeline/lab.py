"""What tests of whole runs need: a small repository, a plan, a run of it, and what must then hold.

Everything is real: git, processes, Dagster, SQLite. Tools and gates are one-line shell scripts.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import yaml

from pipeline_defs.launch import execute_run
from pipeline_defs.plan.loader import load_plan
from pipeline_defs.revisions import Revision, register
from pipeline_defs.runs import Launch, open_run
from state.home import Home
from state.machines import MACHINES
from state.queries import run_summary
from state.store import StateStore
from tests.new_databases import new_database
from tests.resources.gitbox import git, make_repository, write

__all__ = [
    "Lab",
    "Ran",
    "assert_sound",
    "git",
    "lines",
    "make_repository",
    "stream",
    "task",
    "write",
]

TRAILERS = [
    f"Patchline-{name}" for name in ("Run", "Task", "Ledger", "Patch-SHA256", "Gates", "Audit")
]
OK_GATE: Mapping[str, Any] = {"ok": {"command": ["true"]}}


def task(name: str, script: str, **more: Any) -> dict[str, Any]:
    """A task whose tool is a shell script; `tool_` arguments go to the tool."""
    tool = {"command": ["sh", "-c", script]}
    tool |= {k.removeprefix("tool_"): more.pop(k) for k in list(more) if k.startswith("tool_")}
    return {"id": name, "title": f"Do {name}", "_tool": tool, **more}


def stream(name: str, *tasks: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A workstream, judged by the gate `ok` unless it says otherwise."""
    return {"id": name, "title": f"Stream {name}", "gates": ["ok"], "tasks": list(tasks), **more}


class Ran:
    """A run that has been executed, and its state."""

    def __init__(self, lab: "Lab", run_id: str, success: bool) -> None:
        self.lab, self.run_id, self.success, self.store = lab, run_id, success, lab.store
        self.summary = run_summary(lab.store, run_id)

    @property
    def state(self) -> str:
        return self.summary["state"]

    @property
    def workstreams(self) -> dict[str, str]:
        return {row["id"]: row["state"] for row in self.summary["workstreams"]}

    @property
    def tasks(self) -> dict[str, str]:
        return {row["id"]: row["state"] for row in self.summary["tasks"]}

    def task(self, name: str) -> Any:
        """The row of a task by `stream/task`."""
        (found,) = [row for row in self.summary["tasks"] if row["id"] == name]
        return self.store.get("task", found["task_id"])

    def workstream(self, name: str) -> Any:
        """The row of a workstream by its id."""
        (found,) = [row for row in self.summary["workstreams"] if row["id"] == name]
        return self.store.get("workstream", found["ws_id"])

    def ledger(self, name: str | None = None, state: str | None = None) -> list[Any]:
        """Ledger entries of the run, of one task, in one state."""
        rows = self.store.find("patch_ledger", run_id=self.run_id)
        wanted = self.task(name).task_id if name else None
        return [r for r in rows if wanted in (None, r.task_id) and state in (None, r.state)]

    def refusals(self, name: str) -> set[str]:
        """The reason codes of a task's quarantined patches."""
        return {
            reason["code"]
            for entry in self.ledger(name, "quarantined")
            for reason in entry.reasons or ()
        }

    def gates(self, **filters: Any) -> list[Any]:
        """Gate executions of the run."""
        return self.store.find("test_gate", run_id=self.run_id, **filters)

    def attempts(self, name: str) -> list[Any]:
        """The attempts of a task."""
        rows = self.store.find("task_attempt", task_id=self.task(name).task_id)
        return sorted(rows, key=lambda row: row.number)


class Lab:
    """A home, a repository and the means to run plans on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repo = folder / "repo"
        self.home = Home.at(folder / "home")
        self._store: StateStore | None = None

    @property
    def store(self) -> StateStore:
        """The state, opened at first use."""
        if self._store is None:
            new_database(self.home.root / "pipeline.db")
            self._store = StateStore.open(self.home.database_url, events=self.home.events)
        return self._store

    def close(self) -> None:
        if self._store is not None:
            self._store.close()

    def git(self, *args: str, stdin: str | None = None) -> str:
        """Git in the repository."""
        return git(self.repo, *args, stdin=stdin)

    def head(self, branch: str = "main") -> str:
        return self.git("rev-parse", branch)

    def show(self, path: str, revision: str = "main") -> str:
        return self.git("show", f"{revision}:{path}")

    def files(self, revision: str = "main") -> list[str]:
        listed = self.git(
            "-c", "core.quotePath=false", "ls-tree", "-r", "-z", "--name-only", revision
        )
        return listed.split("\0")[:-1]

    def register(self, *streams: dict[str, Any], **plan: Any) -> Revision:
        """Write a plan file and register it."""
        tools: dict[str, Any] = dict(plan.pop("tools", {}))
        for ws in streams:
            for one in ws["tasks"]:
                if "_tool" in one:
                    one["tool"] = f"{ws['id']}-{one['id']}"
                    tools[one["tool"]] = one.pop("_tool")
        document = {
            "plan": "trial",
            "repo": str(self.repo),
            "defaults": {"max_retries": 0, "retry": {"base_sec": 0.01, "cap_sec": 0.02}},
            "tools": tools,
            "gates": {**OK_GATE, **plan.pop("gates", {})},
            "workstreams": list(streams),
            **plan,
        }
        path = self.folder / "plan.yaml"
        path.write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True))
        return register(self.home, load_plan(path))

    def run(self, *streams: dict[str, Any], **plan: Any) -> Ran:
        """Run a plan to its end, and check what must hold after any run."""
        launch = {k: plan.pop(k) for k in ("repo", "target", "base") if f"{k}" in plan}
        launch = {k: str(v) for k, v in launch.items()}
        if not self.repo.exists():
            make_repository(self.repo)
        revision = self.register(*streams, **plan)
        row = open_run(self.store, self.home, Launch(revision, **launch))
        return self.execute(revision, row.run_id)

    def execute(self, revision: Revision, run_id: str) -> Ran:
        """Execute an open run, or resume one."""
        ran = Ran(self, run_id, execute_run(self.home, revision, run_id))
        assert_sound(ran)
        return ran


def assert_sound(ran: Ran) -> None:
    """What holds after every run, however it went."""
    store, run_id = ran.store, ran.run_id
    run = store.get("run", run_id)
    assert run.state in MACHINES["run"].terminal, ran.summary
    assert ran.success == (run.state == "succeeded")
    for kind in ("workstream", "worker", "uet_worker", "patch_ledger", "test_gate"):
        ends = MACHINES[kind].terminal | {"committed", "BLOCKED"}
        for row in store.find(kind, run_id=run_id):
            assert row.state in ends, f"{kind} left {row.state}: {row}"
    for row in ran.summary["tasks"]:
        assert row["state"] in MACHINES["task"].terminal, row
    worktrees = ran.lab.home.worktrees
    assert not worktrees.exists() or not list(worktrees.iterdir()), "a sandbox is left"
    assert not processes_of(run_id), "a process is left"
    assert_repository_sound(ran, Path(run.repo), run.target)


def processes_of(run_id: str) -> list[psutil.Process]:
    """Live processes that were started for a run."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("PATCHLINE_RUN") == run_id:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


def assert_repository_sound(ran: Ran, repo: Path, target: str) -> None:
    """Git is whole; every committed entry is proven by its commit, and landed exactly once."""
    assert not git(repo, "fsck", "--strict", "--no-dangling")
    assert "prunable" not in git(repo, "worktree", "list", "--porcelain")
    exists = git(repo, "for-each-ref", f"refs/heads/{target}")
    history = git(repo, "rev-list", target).split() if exists else []
    for entry in ran.ledger():
        if entry.state == "committed":
            completed = ran.store.get("workstream", entry.workstream_id).state == "completed"
            assert history.count(entry.commit_sha) == int(completed)
            assert_proven(ran, repo, entry)
        else:
            assert entry.commit_sha is None
    for row in ran.summary["workstreams"]:
        refs = git(repo, "for-each-ref", f"refs/heads/{row['branch']}") if row["branch"] else ""
        assert bool(refs) == bool(row["branch"] and row["state"] != "completed"), row


def assert_proven(ran: Ran, repo: Path, entry: Any) -> None:
    """The commit's tree is the one its gates passed on, and its trailers say whose it is."""
    tree = git(repo, "rev-parse", f"{entry.commit_sha}^{{tree}}")
    assert tree == entry.candidate_tree
    gates = [gate for gate in ran.gates(ledger_id=entry.ledger_id) if gate.role == "exit"]
    assert any(gate.state == "PASSED" for gate in gates)
    assert {gate.tree for gate in gates} == {tree}
    assert all(gate.state == "PASSED" for gate in gates if gate.blocking)
    body = git(repo, "log", "-1", "--format=%(trailers:only,unfold)", entry.commit_sha)
    said = dict(line.split(": ", 1) for line in body.splitlines())
    assert list(said) == TRAILERS
    assert said["Patchline-Run"] == ran.run_id
    assert said["Patchline-Ledger"] == entry.ledger_id
    assert said["Patchline-Gates"].split(", ") == [gate.gate_id for gate in gates]
    assert said["Patchline-Patch-SHA256"] == ran.store.get("patch", entry.patch_id).sha256
    log = git(repo, "log", "--all", "--format=%H", f"--grep=Patchline-Ledger: {entry.ledger_id}")
    assert log.split() == [entry.commit_sha]


def lines(*commands: str) -> str:
    """Shell commands one after the other, ending at the first that fails."""
    return "\n".join(["set -e", *commands])


def states(rows: Sequence[Any]) -> list[str]:
    return [row.state for row in rows]
