"""What `patchline validate` says about a plan file (design section 5)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline_defs.plan.checking import UNREADABLE
from pipeline_defs.plan.commands import command_warnings
from pipeline_defs.plan.findings import Finding, Loc
from pipeline_defs.plan.graph import waves
from pipeline_defs.plan.loader import Analysis, analyse, read_plan_bytes
from pipeline_defs.plan.model import Plan
from pipeline_defs.plan.scope import is_whole_repository, scope_conflicts, task_scope
from pipeline_defs.skipping import skipped_workstreams
from state.errors import PlanError, PlanProblem

_ADD_GATE = "Name a gate in its `gates`, or in those of its workstream."


def validate_file(path: Path | str) -> dict[str, Any]:
    """Check a plan file and say everything there is to say; never raises for a bad plan.

    Returns:
        The pinned document of `validate`: `plan_id`; `workstreams` and `tasks`, how many; `waves`;
        `scope_conflicts`; `errors` and `warnings`. What a bad plan does not tell is None or empty.
    """
    path = Path(path)
    try:
        data = read_plan_bytes(path)
    except PlanError as error:
        return _document(None, errors=[one.as_dict() for one in error.problems])
    found = analyse(data, str(path))
    errors = [one.as_dict() for one in found.problems]
    plan_id = found.document.data.get("plan") if isinstance(found.document.data, dict) else None
    plan_id = plan_id if isinstance(plan_id, str) else None
    if found.plan is None:
        return _document(plan_id, errors=errors)
    conflicts = [pair for pair in scope_conflicts(found.plan) if UNREADABLE not in "".join(pair)]
    layers = [[ws for ws in wave if ws != UNREADABLE] for wave in waves(found.plan)]
    warnings = [] if errors else _placed(found, warnings_of(found.plan, conflicts))
    return {
        **_document(plan_id, errors=errors),
        "workstreams": len(found.plan.workstreams),
        "tasks": sum(1 for _ in found.plan.tasks()),
        "waves": [wave for wave in layers if wave],
        "scope_conflicts": conflicts,
        "warnings": warnings,
    }


def untested_tasks(plan: Plan) -> list[str]:
    """List the tasks whose patch no gate would judge; `run` refuses them (decisions G2)."""
    return [name for name, ws, task in plan.tasks() if not plan.exit_gates(ws, task)]


def check_tested(plan: Plan, data: bytes, file: str) -> None:
    """Refuse a plan with tasks whose patch no gate would judge (decisions G2).

    Args:
        plan: the plan.
        data: the bytes it was read from; they are read again only to say where each task is.
        file: the name that problems carry.

    Raises:
        PlanError: there are such tasks; carries one problem for each, in file order.
    """
    if untested_tasks(plan):
        raise PlanError(untested_problems(plan, data, file))


def untested_problems(plan: Plan, data: bytes, file: str) -> list[PlanProblem]:
    """Say where each task is that no gate would test; arguments as `check_tested`."""
    found, places = analyse(data, file), _places(plan)
    return [
        found.problem(
            Finding(places[name], f"No gate would test the patch of `{name}`.", _ADD_GATE)
        )
        for name in untested_tasks(plan)
    ]


def warnings_of(plan: Plan, conflicts: list[list[str]]) -> list[Finding]:
    """Find what is allowed and yet worth saying about a good plan."""
    return [
        *_untested(plan),
        *_conflicting(plan, conflicts),
        *_unused(plan),
        *_without_scope(plan),
        *_silence(plan),
        *command_warnings(plan),
        *_skipped_dependents(plan),
        *_elsewhere(plan),
    ]


def _document(plan_id: str | None, *, errors: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "plan_id": plan_id,
        "workstreams": 0,
        "tasks": 0,
        "waves": [],
        "scope_conflicts": [],
        "errors": errors,
        "warnings": [],
    }


def _placed(found: Analysis, findings: list[Finding]) -> list[dict[str, Any]]:
    problems = [found.problem(finding) for finding in findings]
    problems.sort(key=lambda one: (one.line or 0, one.column or 0))
    return [one.as_dict() for one in problems]


def _places(plan: Plan) -> dict[str, Loc]:
    """Map `core` and `core/imports` to where they are."""
    places: dict[str, Loc] = {}
    for n, ws in enumerate(plan.workstreams):
        places[ws.id] = ("workstreams", n)
        for m, task in enumerate(ws.tasks):
            places[f"{ws.id}/{task.id}"] = ("workstreams", n, "tasks", m)
    return places


def _untested(plan: Plan) -> Iterator[Finding]:
    places = _places(plan)
    for name in untested_tasks(plan):
        yield Finding(
            places[name],
            f"No gate would test the patch of `{name}`; `run` refuses it.",
            _ADD_GATE,
        )
    for name, ws, task in plan.tasks():
        gates = plan.exit_gates(ws, task)
        if gates and not any(plan.gates[gate].blocking for gate in gates):
            yield Finding(
                places[name],
                f"All gates of `{name}` are advisory: its patch lands even when they fail.",
                "Name a gate without `blocking: false`.",
            )


def _conflicting(plan: Plan, conflicts: list[list[str]]) -> Iterator[Finding]:
    """Say once for each part what it may collide with, however many those are."""
    places = _places(plan)
    others: dict[str, list[str]] = {}
    for a, b in conflicts:
        others.setdefault(a, []).append(b)
    unlimited = {
        f"{ws.id}/{task.id}"
        for ws in plan.workstreams
        for n, task in enumerate(ws.tasks)
        if is_whole_repository(task_scope(plan, ws, n))
    }
    unlimited |= {name.partition("/")[0] for name in unlimited}
    for name, beside in others.items():
        listed = ", ".join(f"`{one}`" for one in beside[:3])
        listed += f" and {len(beside) - 3} more" if len(beside) > 3 else ""
        whole = "the whole repository, and so " if name in unlimited else ""
        yield Finding(
            places[name],
            f"`{name}` may change {whole}the same files as {listed}, at the same time.",
            "Narrow its `files_scope`, or let one depend on the other.",
        )


def _unused(plan: Plan) -> Iterator[Finding]:
    tools = {plan.tool_id(task) for _, _, task in plan.tasks()}
    gates = {gate for ws in plan.workstreams for gate in ws.gates}
    for _, _, task in plan.tasks():
        gates |= {*(task.gates or ()), *task.entry_gates}
        gates |= {gate for compensation in task.compensation for gate in compensation.gates}
    gates |= {dep for gate in plan.gates.values() for dep in gate.depends_on}
    for tool in plan.tools:
        if tool not in tools:
            yield Finding(("tools", tool), f"No task uses the tool `{tool}`.", at_key=True)
    for gate in plan.gates:
        if gate not in gates:
            yield Finding(("gates", gate), f"Nothing uses the gate `{gate}`.", at_key=True)


def _without_scope(plan: Plan) -> Iterator[Finding]:
    """Say which tasks may touch no file at all."""
    for n, ws in enumerate(plan.workstreams):
        for m, task in enumerate(ws.tasks):
            if not task_scope(plan, ws, m):
                own = "files_scope" in task.model_fields_set
                loc: Loc = ("workstreams", n, *(("tasks", m) if own else ()), "files_scope")
                yield Finding(
                    loc,
                    f"`{ws.id}/{task.id}` may touch no file: an empty `files_scope` allows none.",
                    "Name files in it, or leave the key out.",
                )


def _silence(plan: Plan) -> Iterator[Finding]:
    for name, tool in plan.tools.items():
        timeout, silence = tool.timeout_sec, tool.silence_sec
        if timeout is not None and silence is not None and silence >= timeout:
            yield Finding(
                ("tools", name, "silence_sec"),
                f"`{name}` is stopped after {timeout:g} s, before {silence:g} s of silence pass.",
                "Make `silence_sec` shorter than `timeout_sec`.",
            )


def _skipped_dependents(plan: Plan) -> Iterator[Finding]:
    """Say which workstreams never run because one that they depend on does not."""
    skipped = skipped_workstreams(plan)
    disabled = {ws.id for ws in plan.workstreams if not ws.enabled}
    for n, ws in enumerate(plan.workstreams):
        if ws.id in disabled or ws.id not in skipped:
            continue
        for m, dep in enumerate(ws.depends_on):
            if dep in skipped:
                why = "disabled" if dep in disabled else "skipped itself"
                yield Finding(
                    ("workstreams", n, "depends_on", m),
                    f"`{ws.id}` is skipped, because `{dep}` is {why}.",
                    "Enable it, or set `skipped_satisfies: true` in `policy`."
                    if dep in disabled
                    else f"See why `{dep}` is, or set `skipped_satisfies: true` in `policy`.",
                )


def _elsewhere(plan: Plan) -> Iterator[Finding]:
    """Say when the work does not begin where it lands."""
    if plan.base != plan.target:
        yield Finding(
            ("target",) if "target" in plan.model_fields_set else ("base",),
            f"The work begins at `{plan.base}` and lands on `{plan.target}`.",
            "Both are usually the same branch; commits between them may not merge.",
        )
