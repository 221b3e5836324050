"""A folder with a small repository and plans, and `patchline` run in it."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import yaml

from pipeline_defs.cli.main import main
from state.home import Home
from state.store import StateStore
from tests.forks import fork
from tests.new_databases import new_database

PATCHLINE = Path(sys.executable).with_name("patchline")
DEADLINE_SEC = 60.0

WRITE = "import sys, pathlib; pathlib.Path(sys.argv[1].replace('/', '-') + '.txt').write_text('x')"
# Waits for a file beside the repository, with a child that left its process group.
WAIT = (
    "import sys, pathlib, subprocess, time\n"
    "flag = pathlib.Path(sys.argv[2], 'go')\n"
    "if not flag.exists():\n"
    "    subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)'],"
    " start_new_session=True)\n"
    "while not flag.exists():\n"
    "    time.sleep(0.05)\n" + WRITE
)


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its one JSON document."""
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        """The only error of its JSON document."""
        (error,) = self.json["errors"]
        assert list(error) == ["file", "line", "column", "path", "message", "hint"]
        return error


def patchline(words: Sequence[str]) -> int:
    """The installed command, as its script calls it."""
    sys.argv = [str(PATCHLINE), *words]
    return main()


@dataclass(frozen=True)
class Shell:
    """A folder to work in. Its home is `home` below it."""

    folder: Path

    @property
    def repo(self) -> Path:
        return self.folder / "repo"

    @property
    def home(self) -> Home:
        return Home.at(self.folder / "home")

    def environment(self) -> dict[str, str]:
        kept = ("PATH", "HOME", "LANG", "TMPDIR")
        env = {name: os.environ[name] for name in kept if name in os.environ}
        return env | {"PATCHLINE_HOME": str(self.home.root)}

    def run(self, *words: str, env: Mapping[str, str] | None = None) -> Result:
        """Run `patchline` to its end, in a process that has its modules loaded already."""
        streams = [self.folder.with_name(f"{self.folder.name}.{name}") for name in ("out", "err")]
        environment = self.environment() | dict(env or {})
        process = fork(partial(patchline, words), self.folder, environment, *streams)
        process.join(DEADLINE_SEC)
        if process.exitcode is None:
            process.kill()
            raise AssertionError(f"patchline {' '.join(words)} has not ended")
        out, err = (stream.read_text(encoding="utf-8") for stream in streams)
        return Result(process.exitcode, out, err)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start the installed `patchline` and come back at once."""
        return subprocess.Popen(
            [PATCHLINE, *words],
            cwd=self.folder,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def git(self, *words: str) -> str:
        name = ["-c", "user.name=Somebody", "-c", "user.email=somebody@example.org"]
        done = subprocess.run(
            ["git", *name, *words], cwd=self.repo, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def make_repo(self) -> str:
        """A repository with one commit on main; its id."""
        self.repo.mkdir()
        self.git("init", "-q", "-b", "main")
        (self.repo / "a.txt").write_text("one\n")
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "First")
        return self.git("rev-parse", "main")

    def keep(self) -> None:
        """Keep a copy of all of it, for `restore`."""
        shutil.copytree(self.folder, self._copy, symlinks=True)

    def restore(self) -> None:
        """The folder as it was when it was kept: at its own place, which the state knows."""
        shutil.rmtree(self.folder)
        shutil.copytree(self._copy, self.folder, symlinks=True)

    @property
    def _copy(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}.copy")

    def plan(self, **changes: Any) -> str:
        """Write `plan.yaml`: workstream a with tasks one and two, b with one; its path."""
        document = {**example_plan(self.folder), **changes}
        path = self.folder / "plan.yaml"
        path.write_text(yaml.safe_dump(document, sort_keys=False))
        return str(path)

    def store(self) -> StateStore:
        """The state as it is. Close it."""
        new_database(self.home.root / "pipeline.db")
        return StateStore.open(self.home.database_url, events=self.home.events)


def script(text: str) -> dict[str, Any]:
    """A tool or gate that is a shell script."""
    return {"command": ["sh", "-c", text]}


def example_plan(folder: Path) -> dict[str, Any]:
    """A plan whose tools are this very Python."""
    return {
        "plan": "small",
        "repo": "repo",
        "defaults": {"tool": "write", "max_retries": 1, "retry": {"base_sec": 0.05}},
        "tools": {
            "write": {"command": [sys.executable, "-c", WRITE, "{task}"]},
            "wait": {"command": [sys.executable, "-c", WAIT, "{task}", str(folder)]},
            "fail": {"command": [sys.executable, "-c", "raise SystemExit('it broke')"]},
        },
        "gates": {"ok": {"type": "UNIT", "command": ["true"]}},
        "workstreams": [
            {
                "id": "a",
                "gates": ["ok"],
                "tasks": [{"id": "one"}, {"id": "two", "depends_on": ["one"]}],
            },
            {"id": "b", "gates": ["ok"], "tasks": [{"id": "one"}]},
        ],
    }


def with_tool(plan: dict[str, Any], task: str, tool: str) -> list[dict[str, Any]]:
    """The plan's workstreams, with another tool for one task."""
    streams = plan["workstreams"]
    ws_id, _, task_id = task.partition("/")
    for stream in streams:
        for one in stream["tasks"]:
            if (stream["id"], one["id"]) == (ws_id, task_id):
                one["tool"] = tool
    return streams


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Poll until it holds; fail after the deadline."""
    deadline = time.monotonic() + DEADLINE_SEC
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.02)


def processes_in(folder: Path) -> list[list[str]]:
    """Command lines of live processes whose current folder lies, or lay, in this one."""
    found: list[list[str]] = []
    for process in psutil.process_iter():
        try:
            if process.cwd().startswith(str(folder)):
                found.append(process.cmdline())
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found
