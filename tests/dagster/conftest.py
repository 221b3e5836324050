"""One Dagster instance and one deployment with a few small plans for all tests of a process."""

import shutil
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import dagster as dg
import pytest
import yaml

from state.home import Home
from tests.dagster.deployment import PATIENCE, Deployment, environment
from tests.dagster.run_a_plan import run_a_plan
from tests.forks import fork
from tests.migrations_once import read_dagsters_migrations_once
from tests.pipeline.lab import make_repository


def append(task: str, file: str, *depends_on: str) -> dict[str, object]:
    """A task that appends a line to a file."""
    return {
        "id": task,
        "prompt": f"Add {task} to {file}.",
        "tool": f"append-{task}",
        "depends_on": list(depends_on),
        "gates": ["ok"],
    }


def appender(task: str, file: str) -> dict[str, object]:
    """The tool of such a task."""
    return {"command": ["sh", "-c", f"echo {task} >> {file}"]}


LETTERS = {
    "plan": "letters",
    "title": "Write letters",
    "repo": "../repo",
    "max_concurrent": 2,
    "tools": {
        "append-first-line": appender("first-line", "a.txt"),
        "append-second-line": appender("second-line", "a.txt"),
        "append-other-line": appender("other-line", "b.txt"),
        "append-last-line": appender("last-line", "c.txt"),
    },
    "gates": {"ok": {"command": ["true"]}},
    "workstreams": [
        {
            "id": "left-hand",
            "title": "The left hand",
            "files_scope": ["a.txt"],
            "tasks": [
                append("first-line", "a.txt"),
                append("second-line", "a.txt", "first-line"),
            ],
        },
        {
            "id": "right-hand",
            "files_scope": ["b.txt"],
            "tasks": [append("other-line", "b.txt")],
        },
        {
            "id": "both",
            "depends_on": ["left-hand", "right-hand"],
            "files_scope": ["c.txt"],
            "tasks": [append("last-line", "c.txt")],
        },
    ],
}
TASKS = {
    "left_hand.first_line",
    "left_hand.second_line",
    "right_hand.other_line",
    "both.last_line",
}
SLOW = {
    "plan": "slow",
    "repo": "../repo",
    "tools": {"wait": {"command": ["sh", "-c", "echo $$ > $PID_FILE; exec sleep 600"]}},
    "gates": {"ok": {"command": ["true"]}},
    "workstreams": [
        {
            "id": "only",
            "files_scope": ["a.txt"],
            "tasks": [{"id": "wait", "prompt": "Wait.", "tool": "wait", "gates": ["ok"]}],
        }
    ],
}


def edited(word: str) -> dict[str, object]:
    """A plan that a test edits while the code location has it loaded."""
    return {
        "plan": "edited",
        "repo": "../repo",
        "tools": {f"append-{word}": appender(word, "a.txt")},
        "gates": {"ok": {"command": ["true"]}},
        "workstreams": [{"id": "only", "files_scope": ["a.txt"], "tasks": [append(word, "a.txt")]}],
    }


class World:
    """The deployment, its plans and fresh repositories to run them on."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.plans = folder, folder / "plans"
        self.home = Home.at(folder / "home")
        self.pid_file = folder / "tool.pid"
        slow = SLOW | {
            "tools": {"wait": SLOW["tools"]["wait"] | {"env": {"PID_FILE": str(self.pid_file)}}}
        }
        self.plans.mkdir()
        for plan in (LETTERS, slow, edited("before")):
            self.write_plan(plan)
        make_repository(
            folder / "repo", {name: f"{name}\n" for name in ("a.txt", "b.txt", "c.txt")}
        )
        self._copy = folder / "pristine"
        shutil.copytree(folder / "repo", self._copy)
        self.deployment = Deployment(self.home.root, self.plans)

    def write_plan(self, plan: Mapping[str, object]) -> None:
        """Write a plan into the folder that the code location loads."""
        (self.plans / f"{plan['plan']}.yaml").write_text(yaml.safe_dump(plan))

    def fresh_repository(self, name: str) -> Path:
        """A copy of the repository as it was at first."""
        return Path(shutil.copytree(self._copy, self.folder / name))

    def run_from_the_command_line(self, plan: str, repo: Path) -> str:
        """Run a plan in a process of its own; the id of its run."""
        out, err = (self.folder / f"run.{name}" for name in ("out", "err"))
        program = partial(run_a_plan, self.plans / f"{plan}.yaml", repo)
        process = fork(program, self.folder, environment(self.home.root, self.plans), out, err)
        process.join(PATIENCE)
        assert process.exitcode == 0, err.read_text()
        return out.read_text().strip()


@pytest.fixture(scope="session")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    """An instance on disk, for jobs that run in this process."""
    read_dagsters_migrations_once()
    quiet = {"telemetry": {"enabled": False}}
    home = str(tmp_path_factory.mktemp("dagster"))
    with dg.DagsterInstance.local_temp(home, overrides=quiet) as made:
        yield made


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("deployment"))
    try:
        made.deployment.start()
        yield made
    finally:
        made.deployment.stop()
