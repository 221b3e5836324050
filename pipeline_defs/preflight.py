"""Is the environment fit? Everything that can be refused is refused before anything starts."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline_defs.plan.model import Plan
from pipeline_defs.plan.report import untested_tasks
from pipeline_defs.revisions import Revision
from pipeline_defs.samples import sample_repository
from resources.checkouts import checkout_of, local_changes
from resources.environment import allowed_environment, find_command
from resources.repository import GitError, Repository
from state.errors import PlanError, PlanProblem, PreflightError
from state.home import Home

OLDEST_GIT = (2, 38)
"""`git merge-tree --write-tree` came with this version."""


@dataclass(frozen=True)
class Fit:
    """What a run starts from."""

    repository: Repository
    base_commit: str
    target: str


def check_environment(
    home: Home, revision: Revision, repo: str = "", base: str = "", target: str = ""
) -> Fit:
    """Refuse a run that could not work.

    Args:
        home: must be writable.
        revision: the plan; its `repo` is relative to its file.
        repo: the repository's folder, instead of the plan's.
        base: the revision to start from, instead of the plan's.
        target: the branch to land on, instead of the plan's.

    Raises:
        PlanError: a task that nobody would test (decisions G2).
        PreflightError: what is missing, and how to mend it.
    """
    plan = revision.plan
    check_tested(revision)
    check_git()
    check_home(home)
    repository = Repository.open(_repo_folder(home, revision, repo), home.root)
    base = base or plan.base
    base_commit = repository.resolve(base)
    if base_commit is None:
        raise PreflightError(
            f"{base} is no revision of {repository.root}",
            hint="name an existing branch, tag or commit as `base` in the plan",
        )
    fit = Fit(repository, base_commit, target or plan.target)
    check_target(fit)
    check_commands(plan, revision.source.parent)
    return fit


def check_tested(revision: Revision) -> None:
    """Raise PlanError for tasks that no gate would judge: none run is never passed (G2)."""
    untested = untested_tasks(revision.plan)
    if untested:
        raise PlanError(
            [
                PlanProblem(
                    file=str(revision.source),
                    line=1,
                    column=1,
                    path=task,
                    message=f"no gate would test the patch of {task}",
                    hint="add `gates: [...]` to the task or its workstream",
                )
                for task in untested
            ]
        )


def check_git() -> None:
    """Raise PreflightError when git is missing or too old."""
    path = shutil.which("git")
    if path is None:
        raise PreflightError("git was not found on PATH", hint="install git 2.38 or newer")
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    numbers = said.removeprefix("git version ").split(".")
    if (int(numbers[0]), int(numbers[1])) < OLDEST_GIT:
        raise PreflightError(f"{said.strip()} is too old", hint="install git 2.38 or newer")


def check_home(home: Home) -> None:
    """Raise PreflightError when the home cannot be written."""
    probe = home.root / f".probe-{os.getpid()}"
    try:
        home.root.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise PreflightError(
            f"the home {home.root} cannot be written: {error.strerror}",
            hint="set PATCHLINE_HOME to a folder that you may write",
        ) from error


def check_target(fit: Fit) -> None:
    """Raise PreflightError when the target is no branch name, or checked out with local changes."""
    try:
        fit.repository.on_refs("check-ref-format", f"refs/heads/{fit.target}")
    except GitError as error:
        raise PreflightError(
            f"the target {fit.target} is no name that git allows for a branch",
            hint="name another branch as `target` in the plan or with --target",
        ) from error
    checkout = checkout_of(fit.repository, fit.target)
    changed = local_changes(fit.repository, checkout) if checkout else ()
    if changed:
        named = ", ".join(changed[:3]) + (", ..." if len(changed) > 3 else "")
        raise PreflightError(
            f"the target {fit.target} is checked out in {checkout} with local changes ({named})",
            hint="commit or stash them, or land on another branch with --target",
        )


def check_commands(plan: Plan, plan_dir: Path) -> None:
    """Raise PreflightError when a tool or gate in use is not installed."""
    for user, program, allow, extra in _programs(plan):
        program = program.replace("{plan_dir}", str(plan_dir))
        if "{" in program or ("/" in program and not program.startswith("/")):
            continue  # only known in the sandbox: a placeholder, or a file of the repository
        if find_command(program, allowed_environment(allow=allow, extra=extra)) is None:
            raise PreflightError(
                f"{user} needs the command {program}, which was not found",
                hint=f"install {program}, or correct the command in the plan",
            )


def _programs(plan: Plan) -> Iterator[tuple[str, str, tuple[str, ...], dict[str, str]]]:
    for tool_id in sorted({task.tool_id for task in plan.resolved_tasks()}):
        tool = plan.tools[tool_id]
        yield f"tool {tool_id}", tool.command[0], tool.env_allow, tool.env
    for name, gate in plan.gates.items():
        yield f"gate {name}", gate.command[0], gate.env_allow, gate.env


def _repo_folder(home: Home, revision: Revision, repo: str) -> Path:
    if repo:
        return Path(repo).absolute()
    if revision.plan.repo is None:
        raise PreflightError(
            f"plan {revision.plan.plan} names no repository",
            hint="add `repo:` to the plan, or use --repo",
        )
    return sample_repository(home, (revision.source.parent / revision.plan.repo).resolve())
