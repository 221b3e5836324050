"""Is the environment fit? Everything that can be refused is refused before anything starts."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipeline_defs.plan.model import Plan
from pipeline_defs.plan.report import check_tested
from pipeline_defs.revisions import Revision
from pipeline_defs.samples import sample_repository
from pipeline_defs.skipping import skipped_workstreams
from resources.commands.environment import allowed_environment, find_command
from resources.execution.patch_tool import patch_file
from resources.git.checkouts import checkout_of, local_changes, shows_the_commit_before
from resources.git.command import GitError
from resources.git.ref_moves import OURS
from resources.git.repository import Repository
from resources.git.repository_turn import repository_turn
from resources.landing.busy_checkouts import CheckoutLeftBehind
from resources.specs import CompensationAction, ToolKind
from state.errors import PreflightError
from state.home import Home

OTHER_TARGET = "name another branch as `target` in the plan or with --target"
OLDEST_GIT = (2, 38)
"""`git merge-tree --write-tree` came with this version."""


@dataclass(frozen=True)
class Fit:
    """What a run starts from."""

    repository: Repository
    base_commit: str
    target: str


def check_environment(
    home: Home,
    revision: Revision,
    repo: str = "",
    base: str = "",
    target: str = "",
    workstream: str | None = None,
) -> Fit:
    """Refuse a run that could not work.

    Args:
        home: must be writable.
        revision: the plan; its `repo` is relative to its file.
        repo: the repository's folder, instead of the plan's.
        base: the revision to start from, instead of the plan's.
        target: the branch to land on, instead of the plan's.
        workstream: the only one that will run; None for all that are enabled.

    Raises:
        PlanError: a task that nobody would test (decisions G2).
        PreflightError: what is missing, and how to mend it.
    """
    plan = revision.plan
    check_tested(plan, revision.path.read_bytes(), str(revision.source))
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
    check_commands(plan, revision.source.parent, workstream)
    return fit


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
        home.create()
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise PreflightError(
            f"the home {home.root} cannot be written: {error.strerror}",
            hint="set PATCHLINE_HOME to a folder that you may write",
        ) from error


def check_target(fit: Fit) -> None:
    """Raise PreflightError when nothing could land on the target.

    It is no branch name, one of ours, in the way of another branch, or checked out with local
    changes.
    """
    check_target_name(fit.target)
    try:
        fit.repository.on_refs("check-ref-format", f"refs/heads/{fit.target}")
    except GitError as error:
        raise PreflightError(
            f"the target {fit.target} is no name that git allows for a branch", hint=OTHER_TARGET
        ) from error
    _check_branches(fit)
    checkout = checkout_of(fit.repository, fit.target)
    if checkout is None or not local_changes(fit.repository, checkout):
        return
    with repository_turn(fit.repository):  # another run of ours may just have been moving it
        changed = local_changes(fit.repository, checkout)
        left = bool(changed) and shows_the_commit_before(fit.repository, fit.target, checkout)
    if left:
        raise CheckoutLeftBehind(fit.target, str(checkout), changed)
    if changed:
        named = ", ".join(changed[:3]) + (", ..." if len(changed) > 3 else "")
        raise PreflightError(
            f"the target {fit.target} is checked out in {checkout} with local changes ({named})",
            hint="commit or stash them, or land on another branch with --target",
        )


def check_target_name(target: str) -> None:
    """Raise PreflightError for a target that is a valid name and means something else."""
    if target == "HEAD":
        raise PreflightError("the target HEAD is no branch", hint="name the branch that is meant")
    if target.startswith("refs/"):
        short = target.removeprefix("refs/heads/").removeprefix("refs/")
        raise PreflightError(
            f"the target {target} is the name of a ref, not of a branch",
            hint=f"write `{short}` if the branch is meant",
        )
    if f"{target}/".startswith(OURS):
        raise PreflightError(
            f"the target {target} is kept for the branches of runs", hint=OTHER_TARGET
        )


def _check_branches(fit: Fit) -> None:
    """A branch is a file and `a/b` lies in the folder `a`: git cannot have both."""
    listed = fit.repository.on_refs("for-each-ref", "--format=%(refname)", "refs/heads/")
    branches = {ref.removeprefix("refs/heads/") for ref in listed.splitlines()}
    ours = OURS.rstrip("/")
    if ours in branches:
        raise PreflightError(
            f"{fit.repository.root} has a branch named {ours}, where the branches of runs go",
            hint=f"rename it: git branch -m {ours} another-name",
        )
    above = {str(parent) for parent in PurePosixPath(fit.target).parents}
    blocking = sorted(b for b in branches if b in above or b.startswith(f"{fit.target}/"))
    if blocking:
        raise PreflightError(
            f"git cannot have the target {fit.target} beside the branch {blocking[0]}",
            hint=OTHER_TARGET,
        )


def check_commands(plan: Plan, plan_dir: Path, workstream: str | None = None) -> None:
    """Raise PreflightError when a command or patch file that the run will need is not there."""
    for tool_id, file in _patch_files(plan, plan_dir, workstream):
        if not file.exists():
            raise PreflightError(
                f"tool {tool_id} needs the patch file {file}, which is not there",
                hint="make the file, or correct `file` in the plan",
            )
    for user, program, allow, extra in _programs(plan, workstream):
        program = program.replace("{plan_dir}", str(plan_dir))
        if "{" in program or ("/" in program and not program.startswith("/")):
            continue  # only known in the sandbox: a placeholder, or a file of the repository
        if find_command(program, allowed_environment(allow=allow, extra=extra)) is None:
            raise PreflightError(
                f"{user} needs the command {program}, which was not found",
                hint=f"install {program}, or correct the command in the plan",
            )


def _programs(
    plan: Plan, workstream: str | None
) -> Iterator[tuple[str, str, tuple[str, ...], dict[str, str]]]:
    """Who needs which program, among what will run: user, program, allowed and added variables.

    Compensations are among it: whoever needs one would find out too late.
    """
    will_run = _will_run(plan, workstream)
    tasks = [task for task in plan.resolved_tasks() if task.workstream.id in will_run]
    for tool_id in sorted({task.tool_id for task in tasks}):
        tool = plan.tools[tool_id]
        if tool.kind is ToolKind.COMMAND:
            yield f"tool {tool_id}", tool.command[0], tool.env_allow, tool.env
    compensations = [(task, action) for task in tasks for action in task.task.compensation]
    for task, action in compensations:
        if action.action is CompensationAction.COMMAND:
            yield f"compensation of {task.name}", action.command[0], action.env_allow, action.env
    asked = {name for task in tasks for name in (*task.gates, *task.entry_gates)}
    asked |= {name for _, action in compensations for name in action.gates}
    asked |= {name for ws in plan.workstreams if ws.id in will_run for name in ws.gates}
    for name in sorted(_with_dependencies(plan, asked)):
        gate = plan.gates[name]
        yield f"gate {name}", gate.command[0], gate.env_allow, gate.env


def _patch_files(plan: Plan, plan_dir: Path, workstream: str | None) -> Iterator[tuple[str, Path]]:
    """Tools that read a patch, with each file that the first attempts will look for."""
    will_run = _will_run(plan, workstream)
    for task in plan.resolved_tasks():
        if task.workstream.id in will_run and task.tool.kind is ToolKind.PATCH:
            file = task.tool.file or ""
            yield task.tool_id, patch_file(file, plan_dir, task.name, attempt=1)


def _will_run(plan: Plan, workstream: str | None) -> set[str]:
    """Workstreams that are not skipped: one, or all of the plan's."""
    chosen = {ws.id for ws in plan.workstreams if workstream in (None, ws.id)}
    return chosen - skipped_workstreams(plan)


def _with_dependencies(plan: Plan, gates: set[str]) -> set[str]:
    """Gates together with all those that they build upon."""
    found: set[str] = set()
    waiting = list(gates)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += plan.gates[name].depends_on
    return found


def _repo_folder(home: Home, revision: Revision, repo: str) -> Path:
    if repo:
        return Path(repo).absolute()
    if revision.plan.repo is None:
        raise PreflightError(
            f"plan {revision.plan.plan} names no repository",
            hint="add `repo:` to the plan, or use --repo",
        )
    return sample_repository(home, (revision.source.parent / revision.plan.repo).resolve())
