"""A run in the middle of its work, whose process may die or be overtaken at any transaction."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from resources.execution.progress import Progress
from resources.execution.recovery import Recovery
from resources.specs import PolicySpec
from state.clock_and_ids import ManualClock, SequentialIds
from state.home import Home
from state.machines import MACHINES
from state.queries import history
from state.run_view import run_view
from state.store import StateStore
from state.transaction import Transaction
from tests.new_databases import new_database
from tests.resources.gitbox import GitBox


class PowerCut(Exception):
    """The process dies here."""


class FrailStore(StateStore):
    """A store whose process dies after so many transactions, or is overtaken before one."""

    left: int | None = None
    before: Any = None
    made: int = 0

    @contextmanager
    def batch(self) -> Generator[Transaction]:
        meddle, self.before = self.before, None
        if meddle:
            meddle()
        if self.left == 0:
            raise PowerCut
        with super().batch() as tx:
            yield tx
        self.made += 1
        if self.left is not None:
            self.left -= 1


class Scene:
    """A run: `a` and `b` executing, `c` needs `a`, `d` needs `c`; each has tasks."""

    def __init__(
        self,
        folder: Path,
        box: GitBox,
        policy: PolicySpec | None = None,
        strict: bool = False,
    ) -> None:
        self.address = new_database(folder / "pipeline.db")
        self.store = FrailStore.open(self.address, strict, ManualClock(), SequentialIds())
        self.home = Home.at(folder / "home")
        self.run_id = self.store.create("run", base_commit=box.head()).run_id
        self.store.transition("run", self.run_id, "running")
        recovery = Recovery(self.store, self.home, box.repository, self.run_id)
        self.progress = Progress(
            self.store, self.run_id, policy or PolicySpec(), self.home.root, recovery
        )
        self.ids: dict[str, str] = {}

    def stream(self, slug: str, *states: str, needs: str = "", **columns: Any) -> None:
        row = self.store.create("workstream", run_id=self.run_id, slug=slug, **columns)
        self.ids[slug] = row.ws_id
        if needs:
            self.store.add_dependency("workstream", row.ws_id, self.ids[needs])
        for state in states:
            self.store.transition("workstream", row.ws_id, state)

    def task(self, name: str, *states: str, needs: str = "", **columns: Any) -> str:
        ws = self.ids[name.split("/")[0]]
        key = self.store.create("task", workstream_id=ws, slug=name, **columns).task_id
        self.ids[name] = key
        if needs:
            self.store.add_dependency("task", key, self.ids[needs])
        for state in states:
            if state == "running":
                worker = self.store.create("worker", run_id=self.run_id).worker_id
                self.store.transition("worker", worker, "idle")
                assert self.store.claim_task(worker, task_id=key) is not None
            else:
                self.store.transition("task", key, state)
        return key

    def fill(self) -> "Scene":
        self.stream("a", "ready", "executing")
        self.stream("b", "ready", "executing")
        self.stream("c", "blocked", needs="a")
        self.stream("d", needs="c")
        self.task("a/bad", "queued", "running", "failed")
        self.task("a/busy", "queued", "running")
        self.task("a/after", "blocked", needs="a/bad")
        self.task("a/last", needs="a/after")
        self.task("b/do", "queued", "running", "validating", "completed")
        self.task("b/next", "blocked", needs="b/do")
        self.task("c/one")
        self.task("c/two", "blocked", needs="c/one")
        self.task("d/one")
        entry = self.store.create(
            "patch_ledger", task_id=self.ids["a/busy"], workstream_id=self.ids["a"]
        )
        self.ids["patch"] = entry.ledger_id
        self.store.made = 0
        return self

    def states(self) -> dict[str, str]:
        view = run_view(self.store, self.run_id)
        named = {row.slug: row.state for row in (*view.workstreams.values(), *view.tasks.values())}
        patch = self.store.get("patch_ledger", self.ids["patch"]).state
        return named | {"run": view.run.state, "patch": patch}

    def steps(self, name: str) -> list[tuple[str, str, str | None]]:
        """What was done to an entity: state, trigger, reason."""
        kind = "run" if name == "run" else "task" if "/" in name else "workstream"
        key = self.run_id if name == "run" else self.ids[name]
        return [(r.to_state, r.trigger, r.reason) for r in history(self.store, kind, key)]

    def all_steps(self) -> dict[str, list[tuple[str, str, str | None]]]:
        names = [name for name in self.ids if name != "patch"]
        return {name: self.steps(name) for name in (*names, "run")}

    def check_order(self) -> None:
        """Nothing ended before what is under it."""
        view = run_view(self.store, self.run_id)
        for row in view.workstreams.values():
            if row.state in MACHINES["workstream"].terminal:
                under = view.tasks_of(row.ws_id)
                assert all(one.state in MACHINES["task"].terminal for one in under)
        if view.run.state in MACHINES["run"].terminal:
            ended = MACHINES["workstream"].terminal
            assert all(one.state in ended for one in view.workstreams.values())


class Scenes:
    def __init__(self, folder: Path) -> None:
        self.folder, self.box = folder, GitBox(folder)
        self.made: list[Scene] = []

    def __call__(self, policy: PolicySpec | None = None) -> Scene:
        folder = self.folder / f"scene{len(self.made)}"
        folder.mkdir()
        self.made.append(Scene(folder, self.box, policy).fill())
        return self.made[-1]
