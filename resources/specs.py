"""What a plan says about tools, gates and limits, as data that every lower room understands.

The plan model (`pipeline_defs.plan.model`) is composed of these; the task path works with them.
Field names are the keys of the plan file (design: "Plan file").
"""

import re
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

MEBIBYTE = 1024 * 1024


class Spec(BaseModel):
    """A frozen part of a plan; keys it does not know are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class OnNoChange(StrEnum):
    """What it means when a tool succeeds and leaves the files as they were."""

    FAIL = "fail"
    COMPLETE = "complete"


class RetrySpec(Spec):
    """Delay before attempt n+1: min(cap, base * 2^(n-1)) with jitter (decisions T5). Seconds."""

    base_sec: float = Field(default=1.0, ge=0)
    cap_sec: float = Field(default=60.0, ge=0)


class ToolKind(StrEnum):
    """Where a tool's patch comes from: what a command changes, or a file that holds it."""

    COMMAND = "command"
    PATCH = "patch"


FILE_PLACEHOLDERS = ("plan_dir", "task", "attempt")
"""What the `file` of a tool of kind `patch` may hold in braces."""


class ToolSpec(Spec):
    """What makes a task's patch: a command that changes files in a worktree, or a patch file.

    `command` is an argv list with the placeholders `{prompt} {files} {worktree} {feedback} {task}
    {attempt} {plan_dir}`; `{files}` alone as an argument becomes one argument per file. `file`
    (kind `patch`) is a path, from the plan's folder, with `{plan_dir} {task} {attempt}`. The plan's
    loader holds that each kind has its own of the two (`pipeline_defs.plan.tools`).
    """

    kind: ToolKind = ToolKind.COMMAND
    command: tuple[str, ...] = ()
    file: str | None = None
    timeout_sec: float | None = Field(default=None, gt=0)
    silence_sec: float | None = Field(default=None, gt=0)
    capabilities: tuple[str, ...] = ()
    env: dict[str, str] = Field(default_factory=dict)
    env_allow: tuple[str, ...] = ()
    expected_exit_codes: tuple[int, ...] = (0,)
    permanent_exit_codes: tuple[int, ...] = ()
    on_no_change: OnNoChange = OnNoChange.FAIL


class GateType(StrEnum):
    """What a gate looks at; a label for people and for statistics."""

    LINT = "LINT"
    TYPE = "TYPE"
    UNIT = "UNIT"
    INTEGRATION = "INTEGRATION"
    E2E = "E2E"
    SECURITY = "SECURITY"
    BUILD = "BUILD"
    CUSTOM = "CUSTOM"


class GateSpec(Spec):
    """A command whose exit code judges a tree."""

    type: GateType = GateType.CUSTOM
    command: tuple[str, ...] = Field(min_length=1)
    timeout_sec: float = Field(default=300.0, gt=0)
    depends_on: tuple[str, ...] = ()
    expected_exit_codes: tuple[int, ...] = (0,)
    blocking: bool = True
    env: dict[str, str] = Field(default_factory=dict)
    env_allow: tuple[str, ...] = ()


def _sha256(text: str) -> str:
    """Take a SHA-256 in hexadecimal digits, of whatever case."""
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        # The hint rides behind the message; the plan's checks take the two apart again.
        raise ValueError(
            f"`{text[:8]}...` is no SHA-256.|copy it from the message that refused the patch: "
            "64 hexadecimal digits"
        )
    return text.lower()


Sha256 = Annotated[str, AfterValidator(_sha256)]


class OnCriticalFailure(StrEnum):
    """What happens to independent workstreams when a critical one has failed."""

    FINISH_OTHERS = "finish_others"
    STOP = "stop"


class MergeKind(StrEnum):
    """How a workstream gets onto the target."""

    FF = "ff"
    MERGE = "merge"


class PolicySpec(Spec):
    """Limits on what a patch may do, and what a failure means for the run."""

    max_files: int = Field(default=100, ge=1)
    max_bytes: int = Field(default=MEBIBYTE, ge=1)
    max_hunks: int = Field(default=5000, ge=1)
    forbid: tuple[str, ...] = ()
    protected: tuple[str, ...] = ()
    allow_protected: tuple[str, ...] = ()
    allow_binary: bool = False
    allow_exec: bool = False
    allow_symlinks: bool = False
    allow_test_removal: bool = False
    allow_secrets: tuple[Sha256, ...] = ()
    allow_noncritical_failures: bool = False
    skipped_satisfies: bool = False
    on_critical_failure: OnCriticalFailure = OnCriticalFailure.FINISH_OTHERS


class CompensationAction(StrEnum):
    """What a compensation does."""

    GIT_REVERT = "git_revert"
    RUN_GATES = "run_gates"
    COMMAND = "command"
    NOTIFY = "notify"


class Compensation(Spec):
    """One action that makes up for a patch that is taken back, or for a workstream that failed.

    `command` is an argv list with the placeholders `{worktree} {ledger} {task} {commit} {reason}
    {plan_dir}`; it has `timeout_sec` seconds. In a shell's script `{reason}` would be shell text:
    the script finds it in `$PATCHLINE_REASON`.
    """

    action: CompensationAction
    command: tuple[str, ...] = ()
    gates: tuple[str, ...] = ()
    message: str = ""
    env: dict[str, str] = Field(default_factory=dict)
    env_allow: tuple[str, ...] = ()
    timeout_sec: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _keys_of_its_action(self) -> Self:
        """Each action has keys of its own. The hint rides behind the message, after a bar."""
        known = _KEYS_OF[self.action]
        given = [key for key in type(self).model_fields if getattr(self, key)]
        for key in (key for key in given if key not in ("action", *known)):
            words = (
                f"it takes {', '.join(f'`{one}`' for one in known)}" if known else "leave it out"
            )
            raise ValueError(f"`{key}` means nothing to the action `{self.action.value}`.|{words}")
        if self.action is CompensationAction.COMMAND and not self.command:
            raise ValueError('A `command` action has no command.|add `command: [make, "undo"]`')
        return self


_KEYS_OF: dict[CompensationAction, tuple[str, ...]] = {
    CompensationAction.GIT_REVERT: (),
    CompensationAction.RUN_GATES: ("gates",),
    CompensationAction.COMMAND: ("command", "env", "env_allow", "timeout_sec"),
    CompensationAction.NOTIFY: ("message",),
}


def _at_most_one_revert(actions: tuple[Compensation, ...]) -> tuple[Compensation, ...]:
    reverts = [one for one in actions if one.action is CompensationAction.GIT_REVERT]
    if len(reverts) > 1:
        raise ValueError("`git_revert` is there more than once.|one takes back everything; keep it")
    return actions


Compensations = Annotated[tuple[Compensation, ...], AfterValidator(_at_most_one_revert)]
"""The actions for one patch, in their order."""


class TaskSpec(Spec):
    """One task as the task path needs it: every default applied, every name resolved.

    `id` is the plan's `workstream/task`; `gates` are names of exit gates, `entry_gates` of those
    that must have passed before the task is queued; `scope` and `create` are globs.
    """

    id: str
    title: str
    prompt: str
    tool_id: str
    tool: ToolSpec
    scope: tuple[str, ...]
    create: tuple[str, ...] = ()
    gates: tuple[str, ...]
    entry_gates: tuple[str, ...] = ()
    timeout_sec: float
    retry: RetrySpec
    on_no_change: OnNoChange
    env: dict[str, str] = Field(default_factory=dict)
    compensation: Compensations = ()


class WorkstreamSpec(Spec):
    """One workstream as landing needs it; `gates` judge its merge with the target.

    `gates` falls back to the gates of its tasks, so that no merge result lands untested.
    """

    id: str
    title: str
    gates: tuple[str, ...]


class RunSpec(Spec):
    """A whole plan as a run needs it, keyed by plan ids (`core`, `core/imports`)."""

    plan: str
    plan_dir: str
    policy: PolicySpec
    gates: dict[str, GateSpec]
    workstreams: dict[str, WorkstreamSpec]
    tasks: dict[str, TaskSpec]
    capabilities: frozenset[str]
    max_concurrent: int
    merge: MergeKind = MergeKind.FF
