"""Modernise a real package: fetch it, run the plan on it, and check the result independently.

    python examples/real/run.py

Exit code 0 when the run succeeded and every check of the repository afterwards holds.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import yaml
from fetch import NAME, VERSION, FetchError, git, new_repository

PLAN = Path(__file__).resolve().parent / "plan.yaml"


def patchline() -> str:
    """The `patchline` command of this environment."""
    beside = Path(sys.executable).with_name("patchline")
    found = str(beside) if beside.exists() else shutil.which("patchline")
    if found is None:
        sys.exit("patchline is not installed here: run `make setup`, then `make example-real`")
    return found


def run_plan(repository: Path) -> tuple[int, dict[str, Any]]:
    """Run the plan on the repository; its exit code and its JSON. Progress goes to stderr."""
    command = [patchline(), "run", str(PLAN), "--repo", str(repository), "--json"]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    try:
        return result.returncode, json.loads(result.stdout)
    except json.JSONDecodeError:
        sys.exit(f"patchline (exit code {result.returncode}) printed no JSON: {result.stdout!r}")


def problems_in(repository: Path, code: int, result: dict[str, Any]) -> list[str]:
    """What is wrong with the run or with the repository after it, in words."""
    if "errors" in result:
        return [f"patchline refused: {error['message']}" for error in result["errors"]]
    problems: list[str] = []
    if code != 0 or result["state"] != "succeeded":
        problems.append(f"the run is {result['state']} (exit code {code})")
    for task in result["tasks"]:
        if task["state"] != "completed":
            problems.append(f"task {task['id']} is {task['state']}: {task['reason']}")
    landed = Counter(git(repository, "rev-list", "main").split())
    for patch in result["patches"]:
        if patch["state"] == "committed" and landed[patch["commit_sha"]] != 1:
            problems.append(f"commit {patch['commit_sha']} of {patch['ledger_id']} is not on main")
    if changes := git(repository, "status", "--porcelain"):
        problems.append(f"the working tree is not clean:\n{changes}")
    if complaints := git(repository, "fsck", "--full", "--no-dangling"):
        problems.append(f"git fsck: {complaints}")
    return problems + problems_with_tests(repository)


def problems_with_tests(repository: Path) -> list[str]:
    """Run the plan's `unit` gate once more on what landed, without patchline."""
    gate = yaml.safe_load(PLAN.read_text(encoding="utf-8"))["gates"]["unit"]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    pytest = shutil.which(gate["command"][0], path=path)
    if pytest is None:
        return ["pytest is not installed, so the result could not be tested again"]
    tests = subprocess.run(
        [pytest, *gate["command"][1:]],
        cwd=repository,
        env={**os.environ, **gate["env"]},
        capture_output=True,
        text=True,
    )
    lines = tests.stdout.strip().splitlines() or [tests.stderr.strip()]
    print(f"the package's tests on the result: {lines[-1]}")
    return [] if tests.returncode == 0 else [f"the tests fail on the result: {lines[-1]}"]


def summary(repository: Path, result: dict[str, Any], seconds: float) -> str:
    """The result as a Markdown table, ready for README.md."""
    states = Counter(patch["state"] for patch in result["patches"])
    rows = {
        "package": f"{NAME} {VERSION}",
        "run": result["state"],
        "workstreams": len(result["workstreams"]),
        "tasks": len(result["tasks"]),
        "attempts": sum(task["attempts"] for task in result["tasks"]),
        "patches": ", ".join(f"{count} {state}" for state, count in sorted(states.items())),
        "changed": git(repository, "diff", "--shortstat", "release", "main").strip(),
        "wall time": f"{seconds:.1f} s on {os.cpu_count()} cores",
        "Python": sys.version.split()[0],
    }
    lines = ["| what | result |", "| --- | --- |"]
    return "\n".join([*lines, *(f"| {name} | {value} |" for name, value in rows.items())])


def main() -> int:
    """Fetch, run, check, and print what came out."""
    home = Path(os.environ.get("PATCHLINE_HOME") or ".state").resolve()
    try:
        repository = new_repository(home / "real")
        print(f"{NAME} {VERSION} is in {repository}")
        started = time.monotonic()
        code, result = run_plan(repository)
        seconds = time.monotonic() - started
        problems = problems_in(repository, code, result)
    except FetchError as error:
        print(f"example: {error}", file=sys.stderr)
        return 1
    if "errors" not in result:
        print(summary(repository, result, seconds))
    for problem in problems:
        print(f"problem: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
