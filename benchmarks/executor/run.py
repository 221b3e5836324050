"""What a task costs beyond its subprocesses: Dagster's multiprocess executor against `threaded`.

A task appends a line to its own file (one subprocess) and is judged by `true` (another); at most 8
run at once. The floor is the same subprocesses from a plain thread pool, measured in the same
repetition and subtracted from each subject. Subjects take turns, so that a busy machine hurts all
of them alike.

    python benchmarks/executor/run.py --repetitions 3 --tasks 100

prints a table, writes `results/<UTC time>.json` next to this file and puts the table into
README.md. To compare something else, add a function `(tasks, empty folder) -> wall seconds` to
SUBJECTS; it raises if the work was not done.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import dagster as dg
from by_hand import by_hand

from benchmarks.reporting import keep, machine, measured_at, spread

HERE = Path(__file__).resolve().parent
MAX_CONCURRENT = 8
REQUIRED_RATIO = 20.0
Subject = Callable[[int, Path], float]


def work(file: Path) -> None:
    """One task's subprocesses."""
    subprocess.run(["sh", "-c", 'echo line >> "$1"', "sh", str(file)], check=True)
    subprocess.run(["true"], check=True)


def check_work(tasks: int, folder: Path) -> None:
    """Raise RuntimeError unless every task did its work exactly once."""
    done = [file.read_text() for file in folder.glob("task_*.txt")]
    if done != ["line\n"] * tasks:
        raise RuntimeError(f"{len(done)} of {tasks} tasks left a file, or one ran twice")


def make_job(executor: str, tasks: int, folder: str) -> dg.JobDefinition:
    """The graph under test; step processes rebuild it by this function's name."""
    from pipeline_defs.executor import threaded_executor

    executors = {"multiprocess": dg.multiprocess_executor, "threaded": threaded_executor}

    @dg.op(out=dg.Out(dg.Nothing))
    def task(context: dg.OpExecutionContext) -> None:
        work(Path(folder) / f"{context.op_handle.name}.txt")

    @dg.graph
    def tasks_graph() -> None:
        for number in range(tasks):
            task.alias(f"task_{number}")()

    return tasks_graph.to_job(executor_def=executors[executor])


def dagster_subject(executor: str) -> Subject:
    """Wall seconds of one run of the graph under an executor, on a fresh Dagster home."""

    def measure(tasks: int, folder: Path) -> float:
        job = dg.build_reconstructable_job(
            "run",
            "make_job",
            # Dagster's annotation says a tuple of one.
            (executor, tasks, str(folder)),  # pyright: ignore[reportArgumentType]
            reconstructor_working_directory=str(HERE),
        )
        config = {"execution": {"config": {"max_concurrent": MAX_CONCURRENT}}}
        quiet = {"telemetry": {"enabled": False}}
        home = folder / "dagster"
        home.mkdir()
        with dg.DagsterInstance.local_temp(str(home), overrides=quiet) as instance:
            started = time.perf_counter()
            result = dg.execute_job(job, instance=instance, run_config=config)
            seconds = time.perf_counter() - started
        if not result.success:
            raise RuntimeError(f"the {executor} run failed; its events are on stderr above")
        check_work(tasks, folder)
        return seconds

    return measure


def floor(tasks: int, folder: Path) -> float:
    """The subprocesses alone, from a thread pool of the same width."""
    files = [folder / f"task_{number}.txt" for number in range(tasks)]
    started = time.perf_counter()
    with ThreadPoolExecutor(MAX_CONCURRENT) as pool:
        list(pool.map(work, files))
    seconds = time.perf_counter() - started
    check_work(tasks, folder)
    return seconds


def patchline(tasks: int, folder: Path) -> float:
    """The whole product on the same work: every task is a judged commit that lands on `main`.

    Its floor is `by_hand`: the tool, the gate and the calls of git that a task needs.
    """
    from pipeline_defs.dagster_home import dagster_instance
    from pipeline_defs.launch import execute_run
    from pipeline_defs.plan.loader import load_plan
    from pipeline_defs.revisions import register
    from pipeline_defs.runs import Launch, open_run
    from state.home import Home
    from state.store import StateStore

    repo = folder / "repo"
    make_repository(repo, tasks)
    plan = folder / "plan.json"
    plan.write_text(json.dumps(patchline_plan(tasks)))
    home = Home.at(folder / "home")
    revision = register(home, load_plan(plan))
    with dagster_instance(home):  # its tables are made once for a home, like the others' here
        pass
    started = time.perf_counter()
    with StateStore.open(home.database_url, events=home.events) as store:
        run = open_run(store, home, Launch(revision, repo=str(repo)))
    with environment(PATCHLINE_HOME=str(home.root), DAGSTER_HOME=str(home.dagster)):
        good = execute_run(home, revision, run.run_id)
    seconds = time.perf_counter() - started
    git = ("git", "-C", str(repo))
    commits = subprocess.run([*git, "rev-list", "--count", "main"], capture_output=True, text=True)
    lines = [(repo / f"task_{number}.txt").read_text() for number in range(tasks)]
    if not good or int(commits.stdout) != tasks + 1 or set(lines) != {"line\nline\n"}:
        raise RuntimeError(f"{commits.stdout.strip()} commits on main, expected {tasks + 1}")
    return seconds


def make_repository(repo: Path, tasks: int) -> None:
    """A repository with a file of one line for each task."""
    repo.mkdir()
    for number in range(tasks):
        (repo / f"task_{number}.txt").write_text("line\n")
    who = ("-c", "user.name=bench", "-c", "user.email=bench@localhost")
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], [*who, "commit", "-qm", "start"]):
        subprocess.run(["git", *command], cwd=repo, check=True)


def patchline_plan(tasks: int) -> dict[str, Any]:
    """One workstream of independent tasks, gate `true`."""
    return {
        "plan": "bench",
        "max_concurrent": MAX_CONCURRENT,
        "defaults": {"tool": "append"},
        "tools": {"append": {"command": ["sh", "-c", 'echo line >> "$1"', "sh", "{files}"]}},
        "gates": {"ok": {"command": ["true"]}},
        "workstreams": [
            {
                "id": "all",
                "gates": ["ok"],
                "tasks": [
                    {"id": f"t{number}", "files_scope": [f"/task_{number}.txt"]}
                    for number in range(tasks)
                ],
            }
        ],
    }


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Environment variables for the duration of a block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


SUBJECTS: dict[str, Subject] = {
    "multiprocess": dagster_subject("multiprocess"),
    "threaded": dagster_subject("threaded"),
    "patchline": patchline,
}
BASELINE = "multiprocess"


def by_hand_floor(tasks: int, folder: Path) -> float:
    """What patchline's subprocesses take without patchline."""
    make_repository(folder / "repo", tasks)
    return by_hand(tasks, folder / "repo", MAX_CONCURRENT)


FLOORS: dict[str, Subject] = {"multiprocess": floor, "threaded": floor, "patchline": by_hand_floor}


def measured(subject: Subject, tasks: int) -> float:
    """Wall seconds of a subject in a folder of its own."""
    with tempfile.TemporaryDirectory() as name:
        return subject(tasks, Path(name))


def repetition(counts: dict[str, int]) -> dict[str, dict[str, float]]:
    """One turn of every subject, each with its own floor measured right before it."""
    turn: dict[str, dict[str, float]] = {}
    for name, tasks in counts.items():
        bare, wall = measured(FLOORS[name], tasks), measured(SUBJECTS[name], tasks)
        turn[name] = {
            "tasks": tasks,
            "wall_s": wall,
            "floor_s": bare,
            "overhead_ms_per_task": (wall - bare) / tasks * 1000,
        }
    for values in turn.values():
        values["ratio"] = (
            turn[BASELINE]["overhead_ms_per_task"] / values["overhead_ms_per_task"]
            if BASELINE in turn
            else float("nan")
        )
    return turn


def table(record: dict[str, Any]) -> str:
    """The Markdown that goes into README.md."""
    about = record["environment"]
    lines = [
        f"Measured {record['measured_at']}: {len(record['repetitions'])} interleaved repetitions,"
        f" dagster {about['dagster']}, Python {about['python']}, {about['cpus']} CPUs,"
        f" load {about['load_before']} before. Median (lowest-highest).",
        "",
        "| subject | tasks | wall s | subprocess floor s | overhead ms a task | times less |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name in record["repetitions"][0]:
        turns = [turn[name] for turn in record["repetitions"]]
        columns = [("wall_s", 2), ("floor_s", 2), ("overhead_ms_per_task", 1), ("ratio", 1)]
        cells = [spread([turn[key] for turn in turns], digits) for key, digits in columns]
        lines.append(f"| {name} | {turns[0]['tasks']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--tasks", type=int, default=100)
    parser.add_argument(
        "--baseline-tasks", type=int, help="fewer tasks for multiprocess: each takes seconds"
    )
    parser.add_argument("--subjects", nargs="+", choices=SUBJECTS, default=list(SUBJECTS))
    parser.add_argument("--no-record", action="store_true", help="leave results and README alone")
    return parser.parse_args()


def main() -> int:
    """Measure, record, and judge: 0 if every other subject beats the baseline by enough."""
    options = arguments()
    counts: dict[str, int] = {name: options.tasks for name in options.subjects}
    if BASELINE in counts and options.baseline_tasks:
        counts[BASELINE] = options.baseline_tasks
    record: dict[str, Any] = {
        "measured_at": measured_at(),
        "max_concurrent": MAX_CONCURRENT,
        "environment": {
            "dagster": version("dagster"),
            "python": platform.python_version(),
            **machine(),
        },
        "repetitions": [repetition(counts) for _ in range(options.repetitions)],
    }
    print(table(record))
    if not options.no_record:
        keep(HERE, record, table(record))
    ratios = {
        name: statistics.median(turn[name]["ratio"] for turn in record["repetitions"])
        for name in counts
        if name != BASELINE and BASELINE in counts
    }
    short = {name: round(ratio, 1) for name, ratio in ratios.items() if ratio < REQUIRED_RATIO}
    if short:
        print(f"below the required {REQUIRED_RATIO:g} times: {short}", file=sys.stderr)
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
