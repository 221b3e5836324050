"""The floor, patchline and mergetrain on the same work: wall seconds from the patches to `main`."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml
from cases import ENVIRONMENT, Case, check_landed, git, make_repository, patches

Subject = Callable[[Case, Path], float]
MAX_CONCURRENT = 4


def floor(case: Case, folder: Path) -> float:
    """A loop of `git apply --index`, the gate and `git commit`: no state, no way back."""
    repo = folder / "repo"
    make_repository(repo, case)
    texts = list(patches(case))
    started = time.perf_counter()
    for number, (_, text) in enumerate(texts):
        git(repo, "apply", "--index", "-", stdin=text)
        subprocess.run(case.gate, cwd=repo, env=ENVIRONMENT, check=True)
        git(repo, "commit", "-q", "-m", f"patch {number}")
    seconds = time.perf_counter() - started
    check_landed(repo, case)
    return seconds


def patchline(case: Case, folder: Path) -> float:
    """Tasks of a run whose tool is a patch file, each through the whole task path, on `main`.

    Without Dagster, whose cost a step benchmarks/executor measures.
    """
    from pipeline_defs.orders import run_spec
    from pipeline_defs.plan.loader import load_plan
    from pipeline_defs.revisions import register
    from pipeline_defs.runs import Launch, open_run
    from resources.execution.session import RunSession
    from resources.execution.task_path import TaskPath
    from resources.execution.workstream_path import WorkstreamPath
    from resources.git.repository import Repository
    from state.home import Home
    from state.store import StateStore

    repo, plan_file = folder / "repo", folder / "plan.yaml"
    make_repository(repo, case)
    plan_file.write_text(yaml.safe_dump(_plan(case, folder)))
    home = Home.at(folder / "home")
    plan = load_plan(plan_file)
    revision = register(home, plan)
    spec = run_spec(revision.plan, folder)
    with StateStore.open(home.database_url, events=home.events) as store:
        run = open_run(store, home, Launch(revision, repo=str(repo)))
        repository = Repository.open(repo, home.root)
        started = time.perf_counter()
        store.transition("run", run.run_id, "running")
        session = RunSession(store, home, repository, run.run_id, spec, threading.Event())
        streams, tasks = WorkstreamPath(session), TaskPath(session)
        (stream,) = store.find("workstream", run_id=run.run_id)
        streams.open(stream.ws_id)
        rows = store.find("task", workstream_id=stream.ws_id)

        def work(row: Any) -> None:
            tasks.run(row.task_id, spec.tasks[f"all/{row.slug}"])

        with ThreadPoolExecutor(MAX_CONCURRENT) as pool:
            list(pool.map(work, rows))
        streams.land(stream.ws_id, spec.workstreams["all"])
        session.close()
        seconds = time.perf_counter() - started
    check_landed(repo, case)
    return seconds


def _plan(case: Case, folder: Path) -> dict[str, Any]:
    files = folder / "patches" / "all"
    files.mkdir(parents=True)
    tasks: list[dict[str, Any]] = []
    for number, (path, text) in enumerate(patches(case)):
        (files / f"p{number}.patch").write_bytes(text)
        tasks.append({"id": f"p{number}", "files_scope": [f"/{path}"]})
    return {
        "plan": "bench",
        "max_concurrent": MAX_CONCURRENT,
        "defaults": {"tool": "file", "max_retries": 0},
        "tools": {"file": {"kind": "patch", "file": "{plan_dir}/patches/{task}.patch"}},
        "gates": {"gate": {"command": list(case.gate)}},
        "workstreams": [{"id": "all", "gates": ["gate"], "tasks": tasks}],
    }


def mergetrain(processing: str) -> Subject:
    """A queue of one branch for each patch, deployed to a local bare repository.

    `ordered` lands one submission at a time, each tested alone: what the others here do. `batch`
    tests them all together, once.
    """

    def measure(case: Case, folder: Path) -> float:
        repo, remote = folder / "repo", folder / "remote.git"
        make_repository(repo, case)
        _configure(repo, remote, case, processing)
        for number, (_, text) in enumerate(patches(case)):
            _submit(repo, folder / "agents" / f"p{number}", f"agent/p{number}", text)
        started = time.perf_counter()
        while _waiting(repo, remote, case):
            _mergetrain(repo, "daemon", "--once")
        seconds = time.perf_counter() - started
        check_landed(remote, case)
        return seconds

    return measure


def _submit(repo: Path, worktree: Path, branch: str, text: bytes) -> None:
    """What an agent does by itself: a commit in a worktree of its own, which is queued.

    Once it has committed, its files are of no use to anybody: a sparse checkout of nothing.
    """
    git(repo, "branch", branch, "main")
    git(repo, "worktree", "add", "-q", "--no-checkout", str(worktree), branch)
    git(worktree, "read-tree", "HEAD")
    git(worktree, "apply", "--cached", "-", stdin=text)
    git(worktree, "commit", "-q", "-m", branch)
    git(worktree, "sparse-checkout", "set", "--no-cone", "/nothing")
    _mergetrain(repo, "enqueue", "--task", branch, "--branch", branch, "--auto")


def _configure(repo: Path, remote: Path, case: Case, processing: str) -> None:
    gate = " ".join(case.gate)
    (repo / ".mergetrain.yaml").write_text(
        yaml.safe_dump(
            {
                "version": 2,
                "project": {"name": "bench"},
                "state": {
                    "db": ".mergetrain/queue.sqlite",
                    "logs": ".mergetrain/logs",
                    "worktree_root": ".mergetrain/worktrees",
                },
                "git": {"remote": "origin", "integration_branch": "main", "push_refs": ["main"]},
                "queue": {"processing": processing},
                "gates": [{"name": "gate", "run": gate}],
            }
        )
    )
    (repo / ".git" / "info").mkdir(exist_ok=True)
    (repo / ".git" / "info" / "exclude").write_text(".mergetrain/\n.mergetrain.yaml\n")
    git(repo.parent, "clone", "-q", "--bare", str(repo), str(remote))
    git(repo, "remote", "add", "origin", str(remote))
    git(repo, "fetch", "-q", "origin")


def _waiting(repo: Path, remote: Path, case: Case) -> bool:
    """Whether something has not landed yet."""
    try:
        check_landed(remote, case)
    except RuntimeError:
        return True
    return False


def _mergetrain(repo: Path, *args: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "mergetrain", "--repo", str(repo), *args],
        cwd=repo,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise RuntimeError(f"mergetrain {args[0]} failed: {done.stdout[-2000:]}{done.stderr}")
    return done.stdout
