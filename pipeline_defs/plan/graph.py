"""Who waits for whom in a plan: references, cycles, waves, order."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from pipeline_defs.plan.checking import UNREADABLE, suggestion
from pipeline_defs.plan.findings import Finding, Loc
from pipeline_defs.plan.model import Plan, Task, Workstream
from resources.globs import GlobError, parse

Edges = Mapping[str, Sequence[str]]
Member = tuple[str, Loc, Sequence[str]]


def check_graph(plan: Plan, *, names_known: bool = True) -> list[Finding]:
    """Find everything wrong with a plan beyond the form of its keys.

    Args:
        plan: the plan.
        names_known: False when some names could not be read: then nothing is said about references
            to names that do not exist.
    """
    findings = [*_duplicates(plan), *_empty_workstreams(plan), *_policy_globs(plan)]
    if names_known:
        findings += [*_dangling(plan), *_without_tool(plan)]
    return [*findings, *_self_dependencies(plan), *_cycles(plan)]


def waves(plan: Plan) -> list[list[str]]:
    """Group the workstreams into waves: each depends on earlier waves only."""
    return levels(workstream_edges(plan))


def task_waves(workstream: Workstream) -> list[list[str]]:
    """Group a workstream's tasks into waves: each depends on earlier waves only."""
    return levels(task_edges(workstream))


def workstream_edges(plan: Plan) -> dict[str, tuple[str, ...]]:
    """Map every workstream to those it depends on, in plan order."""
    return {workstream.id: workstream.depends_on for workstream in plan.workstreams}


def task_edges(workstream: Workstream) -> dict[str, tuple[str, ...]]:
    """Map every task of a workstream to those it depends on, in plan order."""
    return {task.id: task.depends_on for task in workstream.tasks}


def levels(edges: Edges) -> list[list[str]]:
    """Layer a graph (Kahn), in the order given within a layer.

    Dependencies on unknown names are ignored; what lies on a cycle or behind one is left out.
    """
    waits = {node: len({dep for dep in deps if dep in edges}) for node, deps in edges.items()}
    dependents: dict[str, set[str]] = {node: set() for node in edges}
    for node, deps in edges.items():
        for dep in deps:
            if dep in edges:
                dependents[dep].add(node)
    order = {node: n for n, node in enumerate(edges)}
    layers: list[list[str]] = []
    layer = [node for node in edges if not waits[node]]
    while layer:
        layers.append(layer)
        freed: list[str] = []
        for node in layer:
            for dependent in dependents[node]:
                waits[dependent] -= 1
                if not waits[dependent]:
                    freed.append(dependent)
        layer = sorted(freed, key=order.__getitem__)
    return layers


def ancestors(edges: Edges) -> dict[str, set[str]]:
    """Map every node to all those it waits for, directly or not; cycles are left out."""
    reach: dict[str, set[str]] = {}
    for layer in levels(edges):
        for node in layer:
            known = [dep for dep in edges[node] if dep in edges]
            reach[node] = set(known).union(*(reach[dep] for dep in known))
    return reach


def find_cycles(edges: Edges) -> list[list[str]]:
    """Return cycles without a common node, one for each knot: `[a, b]` for a -> b -> a."""
    rest = {n: [d for d in deps if d in edges and d != n] for n, deps in edges.items()}
    cycles: list[list[str]] = []
    while True:
        placed = {node for layer in levels(rest) for node in layer}
        knot = {n: [d for d in deps if d not in placed] for n, deps in rest.items()}
        knot = {n: deps for n, deps in knot.items() if n not in placed}
        if not knot:
            return cycles
        cycle = _walk_to_cycle(knot, list(edges))
        cycles.append(cycle)
        rest = {n: [d for d in deps if d not in cycle] for n, deps in knot.items()}
        rest = {n: deps for n, deps in rest.items() if n not in cycle}


def _walk_to_cycle(knot: Edges, order: list[str]) -> list[str]:
    """Follow dependencies until a node comes again; begin the cycle at its first node in order."""
    walk: list[str] = [next(iter(knot))]
    while (following := knot[walk[-1]][0]) not in walk:
        walk.append(following)
    cycle = walk[walk.index(following) :]
    start = cycle.index(min(cycle, key=order.index))
    return cycle[start:] + cycle[:start]


def _groups(plan: Plan) -> Iterator[tuple[str, list[Member]]]:
    """Yield each set of named things that may depend on each other, with their places."""
    gates: list[Member] = [(id, ("gates", id), gate.depends_on) for id, gate in plan.gates.items()]
    yield "gate", gates
    streams: list[Member] = [
        (ws.id, ("workstreams", n), ws.depends_on) for n, ws in enumerate(plan.workstreams)
    ]
    yield "workstream", streams
    for n, ws in enumerate(plan.workstreams):
        tasks: list[Member] = [
            (task.id, ("workstreams", n, "tasks", m), task.depends_on)
            for m, task in enumerate(ws.tasks)
        ]
        yield "task", tasks


def _duplicates(plan: Plan) -> Iterator[Finding]:
    for what, members in _groups(plan):
        seen: set[str] = set()
        for name, loc, depends_on in members:
            if name in seen and name != UNREADABLE:
                yield Finding((*loc, "id"), f"There are two {what}s `{name}`.", "Rename one.")
            seen.add(name)
            for n, dep in enumerate(depends_on):
                if dep in depends_on[:n] and dep != UNREADABLE:
                    place = (*loc, "depends_on", n)
                    yield Finding(place, f"`{dep}` is listed twice.", "Keep one.")


def _self_dependencies(plan: Plan) -> Iterator[Finding]:
    for what, members in _groups(plan):
        for name, loc, depends_on in members:
            if name in depends_on and name != UNREADABLE:
                place = (*loc, "depends_on", depends_on.index(name))
                yield Finding(place, f"The {what} `{name}` depends on itself.", "Remove it.")


def _cycles(plan: Plan) -> Iterator[Finding]:
    for what, members in _groups(plan):
        places = {name: loc for name, loc, _ in members}
        edges = {name: deps for name, _, deps in members}
        for cycle in find_cycles(edges):
            if UNREADABLE in cycle:
                continue
            first, second = cycle[0], cycle[1]
            place = (*places[first], "depends_on", list(edges[first]).index(second))
            around = " -> ".join([*cycle, first])
            yield Finding(
                place,
                f"The {what}s depend on each other in a circle: {around}.",
                "Remove one of these dependencies.",
            )


def _empty_workstreams(plan: Plan) -> Iterator[Finding]:
    for n, ws in enumerate(plan.workstreams):
        if not ws.tasks and ws.id != UNREADABLE:
            yield Finding(
                ("workstreams", n, "tasks"),
                f"The workstream `{ws.id}` has no tasks.",
                "Give it one, or remove it.",
            )


def _policy_globs(plan: Plan) -> Iterator[Finding]:
    for key in ("forbid", "protected", "allow_protected"):
        for n, glob in enumerate(getattr(plan.policy, key)):
            try:
                parse(glob)
            except GlobError as error:
                message = f"The glob `{glob[:60]}` cannot be used: {error.problem}."
                hint = error.hint[:1].upper() + error.hint[1:] + "."
                yield Finding(("policy", key, n), message, hint)


def _dangling(plan: Plan) -> Iterator[Finding]:
    """Find names that nothing in the plan has."""
    gates, streams = list(plan.gates), [ws.id for ws in plan.workstreams]
    if plan.defaults.tool is not None:
        yield from _unknown("tool", [plan.defaults.tool], list(plan.tools), ("defaults", "tool"))
    for name, gate in plan.gates.items():
        yield from _unknown("gate", gate.depends_on, gates, ("gates", name, "depends_on"))
    for n, ws in enumerate(plan.workstreams):
        here: Loc = ("workstreams", n)
        yield from _unknown("workstream", ws.depends_on, streams, (*here, "depends_on"))
        yield from _unknown("gate", ws.gates, gates, (*here, "gates"))
        for m, task in enumerate(ws.tasks):
            yield from _dangling_in_task(plan, ws, task, (*here, "tasks", m))


def _dangling_in_task(plan: Plan, ws: Workstream, task: Task, loc: Loc) -> Iterator[Finding]:
    gates = list(plan.gates)
    if task.tool is not None:
        yield from _unknown("tool", [task.tool], list(plan.tools), (*loc, "tool"))
    yield from _unknown("gate", task.gates or (), gates, (*loc, "gates"))
    yield from _unknown("gate", task.entry_gates, gates, (*loc, "entry_gates"))
    for n, compensation in enumerate(task.compensation):
        place = (*loc, "compensation", n, "gates")
        yield from _unknown("gate", compensation.gates, gates, place)
    siblings = [other.id for other in ws.tasks]
    for n, dep in enumerate(task.depends_on):
        place = (*loc, "depends_on", n)
        stream, slash, other = dep.partition("/")
        if slash and stream == ws.id and other in siblings:
            message = f"`{dep}` is a task of this workstream."
            yield Finding(place, message, f"Write `{other}`.")
        elif slash and stream in {one.id for one in plan.workstreams} - {ws.id}:
            message = f"A task cannot depend on `{dep}`, a task of another workstream."
            hint = f"Let the workstream `{ws.id}` depend on `{stream}`."
            yield Finding(place, message, hint)
        else:
            known = [one for one in siblings if one != task.id]
            yield from _unknown("task", [dep], [task.id, *known], place, offered=known, single=True)


def _unknown(
    what: str,
    names: Iterable[str],
    known: Sequence[str],
    loc: Loc,
    *,
    offered: Sequence[str] | None = None,
    single: bool | None = None,
) -> Iterator[Finding]:
    """Yield a finding for each name that is not known, at its place in the list at `loc`."""
    single = what == "tool" if single is None else single
    for n, name in enumerate(names):
        if name in known or name == UNREADABLE:
            continue
        place = loc if single else (*loc, n)
        hint = suggestion(name, offered if offered is not None else known, f"{what}s here")
        yield Finding(place, f"There is no {what} `{name}`.", hint)


def _without_tool(plan: Plan) -> Iterator[Finding]:
    for n, ws in enumerate(plan.workstreams):
        for m, task in enumerate(ws.tasks):
            if plan.tool_id(task) is None and task.id != UNREADABLE:
                yield Finding(
                    ("workstreams", n, "tasks", m),
                    f"The task `{ws.id}/{task.id}` has no tool.",
                    "Add `tool:` to it, or a `tool` to `defaults`.",
                )
