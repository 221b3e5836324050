"""What must pass before ledger entries are taken back: the gates that had to pass when they landed.

A rollback may touch tasks of several runs, and each run keeps to the plan that it followed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from resources.gates import Subject, closure
from resources.specs import Compensations, GateSpec, RunSpec, TaskSpec
from state.store import StateStore

SpecOfRun = Callable[[str], RunSpec]
"""The spec that a run follows, or followed, by the run's id."""


@dataclass(frozen=True)
class Origin:
    """A task that a ledger entry has work of.

    Attributes:
        run_id: its run.
        task_id: its row.
        name: `workstream/task`.
        workstream: the workstream's id in the plan.
    """

    run_id: str
    task_id: str
    name: str
    workstream: str


@dataclass(frozen=True)
class RequiredGates:
    """The gates of the tasks concerned and of their workstreams.

    Attributes:
        names: those to ask for, keys of `specs`.
        specs: them and what they depend on. A gate that another run's plan spells otherwise has
            the run's id behind its name.
        subject: whose gates they are; tree, head and ledger entry are not filled in.
    """

    names: tuple[str, ...]
    specs: Mapping[str, GateSpec]
    subject: Subject


def origins(store: StateStore, entry: Any) -> list[Origin]:
    """The tasks that an entry has work of, each once.

    A rollback has the work of the entries that it took back, a replacement that of its original.
    """
    if entry.task_id is None:
        others = store.find("patch_ledger", reverted_by=entry.ledger_id)
        if entry.replaces is not None:
            others.append(store.get("patch_ledger", entry.replaces))
        return list(dict.fromkeys(one for other in others for one in origins(store, other)))
    task = store.get("task", entry.task_id)
    return [origin_of_task(store, task)]


def origin_of_task(store: StateStore, task: Any) -> Origin:
    """A task by its row."""
    workstream = store.get("workstream", task.workstream_id)
    name = f"{workstream.slug}/{task.slug}"
    return Origin(workstream.run_id, task.task_id, name, workstream.slug)


def declared(specs: SpecOfRun, origin: Origin) -> Compensations:
    """The compensation that a task declares in the plan of its run."""
    spec = specs(origin.run_id).tasks.get(origin.name)
    return spec.compensation if spec else ()


def required_gates(
    specs: SpecOfRun, run_id: str, workstream_id: str, concerned: Sequence[Origin]
) -> RequiredGates:
    """What must pass before the work of some tasks is taken back.

    Args:
        specs: says what each run followed.
        run_id: the run that the rollback belongs to.
        workstream_id: the workstream that it belongs to.
        concerned: the tasks.
    """
    found: dict[str, GateSpec] = dict(specs(run_id).gates)
    names: dict[str, None] = {}
    tasks: list[TaskSpec] = []
    for origin in concerned:
        spec = specs(origin.run_id)
        wanted: tuple[str, ...] = ()
        if task := spec.tasks.get(origin.name):
            tasks.append(task)
            wanted = task.gates
        if stream := spec.workstreams.get(origin.workstream):
            wanted = (*wanted, *stream.gates)
        spelled = _add(found, spec, wanted, origin.run_id)
        names |= dict.fromkeys(spelled[name] for name in wanted)
    return RequiredGates(tuple(names), found, _subject(run_id, workstream_id, tasks))


def _add(
    found: dict[str, GateSpec], spec: RunSpec, wanted: Sequence[str], run_id: str
) -> dict[str, str]:
    """Put a run's gates among those found; says how each of its names is spelled there."""
    spelled: dict[str, str] = {}
    for name in closure(wanted, spec.gates):
        gate = spec.gates[name]
        needs = tuple(spelled[other] for other in gate.depends_on)
        command = tuple(word.replace("{plan_dir}", spec.plan_dir) for word in gate.command)
        same = found.get(name) == gate and needs == gate.depends_on
        spelled[name] = name if same or name not in found else f"{name}@{run_id}"
        if not same:
            found[spelled[name]] = gate.model_copy(update={"command": command, "depends_on": needs})
    return spelled


def _subject(run_id: str, workstream_id: str, tasks: Sequence[TaskSpec]) -> Subject:
    """What the gates may name in their commands: the tasks', as when their patches landed."""
    first = tasks[0] if tasks else None
    return Subject(
        tree="",
        head="",
        run_id=run_id,
        workstream_id=workstream_id,
        role="exit",
        label=first.id if first else "",
        prompt=first.prompt if first else "",
        scope=tuple(dict.fromkeys(glob for task in tasks for glob in task.scope)),
    )
