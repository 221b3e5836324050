"""Which parts of a plan may touch the same files at the same time.

Two workstreams, or two tasks of one workstream, are in conflict when neither waits for the other
and some path is in the scope of both. A conflict is a warning: the second patch is merged on top of
the first, and only then may turn out not to fit.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import product

from pipeline_defs.plan.graph import Edges, ancestors, task_edges, workstream_edges
from pipeline_defs.plan.model import Plan, Workstream
from resources.globs import WHOLE_REPOSITORY, literal_prefix, overlap


def scope_conflicts(plan: Plan) -> list[list[str]]:
    """List the pairs that may touch the same files at the same time, in plan order.

    Returns:
        `[a, b]` for two workstreams, `[ws/a, ws/b]` for two tasks. Disabled workstreams never run
        and are in conflict with nobody.
    """
    running = [ws for ws in plan.workstreams if ws.enabled]
    scopes = {ws.id: workstream_scope(plan, ws) for ws in running}
    pairs = _conflicts(scopes, workstream_edges(plan))
    for ws in running:
        tasks = {task.id: task_scope(plan, ws, n) for n, task in enumerate(ws.tasks)}
        inside = _conflicts(tasks, task_edges(ws))
        pairs += [[f"{ws.id}/{a}", f"{ws.id}/{b}"] for a, b in inside]
    return pairs


def workstream_scope(plan: Plan, workstream: Workstream) -> tuple[str, ...]:
    """Return every glob that a workstream may touch: its own, and those of its tasks."""
    own = (*workstream.files_scope, *workstream.files_create)
    tasks = [task_scope(plan, workstream, n) for n in range(len(workstream.tasks))]
    return _without_repeats([*own, *(glob for scope in tasks for glob in scope)])


def task_scope(plan: Plan, workstream: Workstream, index: int) -> tuple[str, ...]:
    """Return every glob that a task may touch: those it may change and those it may create."""
    task = workstream.tasks[index]
    return _without_repeats([*plan.scope(workstream, task), *plan.create_scope(workstream, task)])


def is_whole_repository(scope: Iterable[str]) -> bool:
    """Tell whether a scope leaves nothing out."""
    return any(glob in (*WHOLE_REPOSITORY, "*", "/**", "/*", "**/*") for glob in scope)


def _conflicts(scopes: Mapping[str, Sequence[str]], edges: Edges) -> list[list[str]]:
    """Find the pairs that are not ordered and whose scopes meet.

    Globs can only meet when the literal beginning of one begins the other's too. Looking only among
    those keeps a plan of thousands of tasks, each with files of its own, from comparing all pairs.
    """
    before = ancestors(edges)
    order = {name: n for n, name in enumerate(scopes)}
    homes: dict[tuple[str, ...], list[tuple[str, str]]] = {}
    for name, scope in scopes.items():
        for glob in scope:
            homes.setdefault(literal_prefix(glob), []).append((name, glob))
    met: set[tuple[str, str]] = set()
    for prefix, members in homes.items():
        near = [one for n in range(len(prefix) + 1) for one in homes.get(prefix[:n], ())]
        for (name, glob), (other, other_glob) in product(members, near):
            a, b = sorted((name, other), key=order.__getitem__)
            ordered = a in before.get(b, ()) or b in before.get(a, ())
            if a != b and not ordered and (a, b) not in met and overlap(glob, other_glob):
                met.add((a, b))
    return [list(pair) for pair in sorted(met, key=lambda pair: [order[name] for name in pair])]


def _without_repeats(globs: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(globs))
