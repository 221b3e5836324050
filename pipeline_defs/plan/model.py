"""The plan as people write it, and as the rest of the product reads it: with defaults applied.

Keys are those of the plan file (design section 6, "Plan"). `Plan.resolve` answers every question of
the form "what holds for this task", so that nobody else repeats which default comes before which.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints

from resources.globs import WHOLE_REPOSITORY, GlobError, parse
from resources.specs import (
    Compensations,
    GateSpec,
    MergeKind,
    OnNoChange,
    PolicySpec,
    RetrySpec,
    Spec,
    ToolSpec,
)

DEFAULT_MAX_RETRIES = 3
DEFAULT_TIMEOUT_SEC = 600.0

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=100)]
Branch = Annotated[str, StringConstraints(pattern=r"^[^\s\-~^:?*\[\\][^\s~^:?*\[\\]*$")]
Revision = Annotated[str, StringConstraints(pattern=r"^[^\s\-][^\s]*$")]


def _readable_glob(text: str) -> str:
    try:
        parse(text)
    except GlobError as error:
        # The hint rides behind the message; `checking` takes the two apart again.
        raise ValueError(
            f"The glob `{text[:60]}` cannot be used: {error.problem}.|{error.hint}"
        ) from error
    return text


Glob = Annotated[str, AfterValidator(_readable_glob)]


class Defaults(Spec):
    """What holds for every task that does not say otherwise. Times in seconds."""

    tool: Slug | None = None
    max_retries: int = Field(default=DEFAULT_MAX_RETRIES, ge=0, le=100)
    timeout_sec: float | None = Field(default=None, gt=0)
    critical: bool = True
    retry: RetrySpec = RetrySpec()


class Scoped(Spec):
    """A part of a plan that may be limited to some files.

    An empty list that is written down means no file; a key left out means: see further up.
    """

    files_scope: tuple[Glob, ...] = ()
    files_create: tuple[Glob, ...] = ()


class Task(Scoped):
    """One use of a tool. None means: see the workstream, the tool, the defaults."""

    id: Slug
    title: str = ""
    prompt: str = ""
    tool: Slug | None = None
    depends_on: tuple[str, ...] = ()
    gates: tuple[str, ...] | None = None
    entry_gates: tuple[str, ...] = ()
    max_retries: int | None = Field(default=None, ge=0, le=100)
    timeout_sec: float | None = Field(default=None, gt=0)
    capabilities: tuple[str, ...] = ()
    critical: bool | None = None
    retry: RetrySpec | None = None
    on_no_change: OnNoChange | None = None
    compensation: Compensations = ()
    env: dict[str, str] = Field(default_factory=dict)


class Workstream(Scoped):
    """A DAG of tasks whose patches land on the target together."""

    id: Slug
    title: str = ""
    depends_on: tuple[str, ...] = ()
    critical: bool = True
    enabled: bool = True
    gates: tuple[str, ...] = ()
    tasks: tuple[Task, ...]


@dataclass(frozen=True)
class ResolvedTask:
    """A task with everything that the plan's defaults say about it. Times in seconds.

    Attributes:
        name: `core/imports`, the task's id outside its workstream.
        scope: globs that the patch may change, delete and create in.
        create: globs that the patch may only create in.
        gates: exit gates of the task's patch; none means that nothing would test it.
        capabilities: what a worker must have: the task's and the tool's.
        env: the tool's variables, then the task's.
    """

    name: str
    workstream: Workstream
    task: Task
    tool_id: str
    tool: ToolSpec
    max_retries: int
    timeout_sec: float
    critical: bool
    retry: RetrySpec
    scope: tuple[str, ...]
    create: tuple[str, ...]
    gates: tuple[str, ...]
    entry_gates: tuple[str, ...]
    on_no_change: OnNoChange
    capabilities: frozenset[str]
    env: dict[str, str]


class Plan(Spec):
    """A DAG of workstreams on one repository."""

    plan: Slug
    title: str = ""
    repo: str | None = Field(default=None, min_length=1)
    base: Revision = "main"
    target: Branch = "main"
    merge: MergeKind = MergeKind.FF
    defaults: Defaults = Defaults()
    policy: PolicySpec = PolicySpec()
    max_concurrent: int = Field(default=4, ge=1, le=1000)
    tools: dict[Slug, ToolSpec] = Field(default_factory=dict)
    gates: dict[Slug, GateSpec] = Field(default_factory=dict)
    workstreams: tuple[Workstream, ...] = Field(min_length=1)

    def tasks(self) -> Iterator[tuple[str, Workstream, Task]]:
        """Yield `core/imports`, the workstream and the task, in plan order."""
        for workstream in self.workstreams:
            for task in workstream.tasks:
                yield f"{workstream.id}/{task.id}", workstream, task

    def workstream(self, ws: str) -> Workstream:
        """Return a workstream by its id; KeyError when the plan has none of that name."""
        for workstream in self.workstreams:
            if workstream.id == ws:
                return workstream
        raise KeyError(ws)

    def find_task(self, name: str) -> tuple[Workstream, Task]:
        """Return a task by `core/imports`; KeyError when the plan has none of that name."""
        for known, workstream, task in self.tasks():
            if known == name:
                return workstream, task
        raise KeyError(name)

    def tool_id(self, task: Task) -> str | None:
        """Name the tool of a task; None when neither it nor the defaults name one."""
        return task.tool or self.defaults.tool

    def exit_gates(self, workstream: Workstream, task: Task) -> tuple[str, ...]:
        """Name the gates that judge a task's patch: its own, else its workstream's."""
        return workstream.gates if task.gates is None else task.gates

    def scope(self, workstream: Workstream, task: Task) -> tuple[str, ...]:
        """Return the globs that a task's patch may change: its own, else its workstream's.

        Where nothing is said that is the whole repository, unless files to create are named: then
        those are all that the patch may touch.
        """
        for part in (task, workstream):
            if "files_scope" in part.model_fields_set:
                return part.files_scope
        return () if task.files_create or workstream.files_create else WHOLE_REPOSITORY

    def create_scope(self, workstream: Workstream, task: Task) -> tuple[str, ...]:
        """Return the globs that a patch may only create in: the task's, else its workstream's."""
        given = "files_create" in task.model_fields_set
        return task.files_create if given else workstream.files_create

    def resolve(self, workstream: Workstream, task: Task) -> ResolvedTask:
        """Apply the defaults to a task of this plan.

        Raises:
            KeyError: the task has no tool, or one that the plan lacks (the loader refuses both).
        """
        tool_id = self.tool_id(task)
        if tool_id is None:
            raise KeyError(f"{workstream.id}/{task.id} has no tool")
        tool = self.tools[tool_id]
        return ResolvedTask(
            name=f"{workstream.id}/{task.id}",
            workstream=workstream,
            task=task,
            tool_id=tool_id,
            tool=tool,
            max_retries=_first(task.max_retries, self.defaults.max_retries),
            timeout_sec=_first(
                task.timeout_sec, tool.timeout_sec, self.defaults.timeout_sec, DEFAULT_TIMEOUT_SEC
            ),
            critical=_first(task.critical, self.defaults.critical),
            retry=_first(task.retry, self.defaults.retry),
            scope=self.scope(workstream, task),
            create=self.create_scope(workstream, task),
            gates=self.exit_gates(workstream, task),
            entry_gates=task.entry_gates,
            on_no_change=_first(task.on_no_change, tool.on_no_change),
            capabilities=frozenset((*task.capabilities, *tool.capabilities)),
            env={**tool.env, **task.env},
        )

    def resolved_tasks(self) -> Iterator[ResolvedTask]:
        """Yield every task with its defaults applied, in plan order."""
        for _, workstream, task in self.tasks():
            yield self.resolve(workstream, task)


def _first(*values: Any) -> Any:
    """Return the first value that is given; the last one always is."""
    return next(value for value in values if value is not None)
