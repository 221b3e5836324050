"""What a plan says about tools, gates and limits, as data that every lower room understands.

The plan model (`pipeline_defs.plan.model`) is composed of these; the task path works with them.
Field names are the keys of the plan file (design: "Plan file").
"""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

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


class ToolSpec(Spec):
    """A command that changes files in a worktree.

    `command` is an argv list with the placeholders `{prompt} {files} {worktree} {feedback} {task}
    {attempt} {plan_dir}`; `{files}` alone as an argument becomes one argument per file.
    """

    command: tuple[str, ...] = Field(min_length=1)
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


class OnCriticalFailure(StrEnum):
    """What happens to independent workstreams when a critical one has failed."""

    FINISH_OTHERS = "finish_others"
    STOP = "stop"


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
    allow_noncritical_failures: bool = False
    skipped_satisfies: bool = False
    on_critical_failure: OnCriticalFailure = OnCriticalFailure.FINISH_OTHERS


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
