"""Tools of kind `patch`: a task's patch comes from a file, and no process runs.

The file goes through the same `check_patch` as the command line's, against the attempt's base.
"""

import re
import time
from dataclasses import dataclass
from pathlib import Path

from resources.git.repository import Repository
from resources.patch_policy import Scope
from resources.patches.check import Checked, PatchSourceError, check_patch
from resources.specs import FILE_PLACEHOLDERS, PolicySpec, TaskSpec
from resources.tools import ToolOutcome, ToolResult

_PLACEHOLDER = re.compile(rf"\{{({'|'.join(FILE_PLACEHOLDERS)})\}}")


@dataclass(frozen=True)
class PatchRead:
    """A patch file that was checked, in place of a tool that ran."""

    checked: Checked
    result: ToolResult


def patch_file(file: str, plan_dir: Path, task: str, attempt: int) -> Path:
    """The path that a tool's `file` names; a relative one is taken from the plan's folder."""
    values = {"plan_dir": str(plan_dir), "task": task, "attempt": str(attempt)}
    return plan_dir / _PLACEHOLDER.sub(lambda match: values[match[1]], file)


def run_patch_tool(
    repository: Repository,
    base: str,
    spec: TaskSpec,
    policy: PolicySpec,
    *,
    plan_dir: Path,
    attempt: int,
    objects: Path,
) -> PatchRead | ToolResult:
    """Check the patch of a task's tool.

    Args:
        repository: the user's repository.
        base: the attempt's base.
        spec: the task; its tool is of kind `patch`.
        policy: the plan's limits.
        plan_dir: the plan file's folder.
        attempt: its number.
        objects: the folder that keeps the new objects.

    Returns:
        The verdict, or why there is no file to read. A further attempt reads another file only if
        its number is part of the name.

    Raises:
        GitError: git or the machine failed.
    """
    file = spec.tool.file or ""
    path = patch_file(file, plan_dir, spec.id, attempt)
    began = time.monotonic()
    try:
        scope = Scope(spec.scope, spec.create)
        checked = check_patch(repository, base, path, scope, policy, objects)
    except PatchSourceError as error:
        return _result(ToolOutcome.NOT_STARTED, str(error), began, "{attempt}" in file)
    said = f"{path}: {checked.verdict}\n"
    return PatchRead(checked, _result(ToolOutcome.SUCCEEDED, said, began))


def _result(outcome: ToolOutcome, said: str, began: float, retryable: bool = True) -> ToolResult:
    """What the attempt's row keeps: no process ran, so there is no exit code."""
    return ToolResult(
        outcome=outcome,
        exit_code=None,
        signal=None,
        timed_out=False,
        silent=False,
        retryable=retryable,
        output=said,
        output_bytes=len(said.encode("utf-8", "surrogateescape")),
        seconds=time.monotonic() - began,
        reason=said.strip(),
    )
