"""What has to hold in every state of the model."""

from tests.property.model import ENDED, HALF_WAY, LANDED, Branch, State, candidate, tip


def held_once(state: State) -> bool:
    held = [task.worker for task in state.tasks if task.worker is not None]
    return len(held) == len(set(held))


def worker_only_while_running(state: State) -> bool:
    return all((task.state == "running") == (task.worker is not None) for task in state.tasks)


def committed_once(state: State) -> bool:
    return all(task.commits <= 1 for task in state.tasks)


def committed_only_when_gated(state: State) -> bool:
    return all(
        entry.judged == "PASSED"
        for entry in state.entries
        if entry and entry.state in {"verified"} | LANDED
    )


def landed_only_when_gated(state: State) -> bool:
    return all(
        entry.judged == "PASSED" for entry in state.entries if entry and entry.state in LANDED
    )


def completed_with_its_patch(state: State) -> bool:
    """A completed task has one committed patch, or the attempt that completed it made none."""
    return all(
        (task.commits == 1 and entry is not None and entry.state in LANDED) != task.empty
        for task, entry in zip(state.tasks, state.entries, strict=True)
        if task.state == "completed"
    )


def half_way_only_while_running(state: State) -> bool:
    return all(
        task.state == "running" or entry is None or entry.state not in HALF_WAY
        for task, entry in zip(state.tasks, state.entries, strict=True)
    )


def ended_with_everything_under_it(state: State) -> bool:
    if state.run not in ENDED["run"]:
        return all(
            task.state in ENDED["task"]
            for task in state.tasks
            if state.streams[task.stream] in ENDED["workstream"]
        )
    entries = [entry.state for entry in state.entries if entry]
    return (
        all(one in ENDED["workstream"] for one in state.streams)
        and _tasks_ended(state)
        and not HALF_WAY.intersection(entries)
    )


def _tasks_ended(state: State) -> bool:
    return all(task.state in ENDED["task"] for task in state.tasks)


def retried_no_more_than_allowed(state: State) -> bool:
    return all(task.retries <= task.max_retries for task in state.tasks)


def landed_is_what_is_written(state: State) -> bool:
    """What a validated workstream hands on is exactly what its ledger has committed."""
    return all(
        state.branches[n] == tip(state, n)
        and {one[-1] for one in state.recorded[n]} == {*state.branches[n]}
        for n, stream in enumerate(state.streams)
        if stream == "completed"
    )


def written_is_on_the_branch(state: State) -> bool:
    """Once all is done, the commits that are written down follow one another from the base."""
    return all(
        one == tip(state, n)[: len(one)]
        for n, stream in enumerate(state.streams)
        if stream == "validating"
        for one in state.recorded[n]
    )


def branch_is_as_written(state: State) -> bool:
    """On a branch is what is written down, or what is verified on top of it; nobody's refuse."""
    return all(
        branch[: len(right)] == right
        and (len(branch) == len(right) or branch[len(right) :] in _verified_on(state, n, right))
        for n, branch in enumerate(state.branches)
        for right in [tip(state, n)]
    )


def _verified_on(state: State, stream: int, right: Branch) -> set[Branch]:
    return {
        (candidate(task, entry),)
        for task, entry in enumerate(state.entries)
        if entry and entry.state == "verified" and entry.base == right
        if state.tasks[task].stream == stream
    }


ALWAYS = (
    held_once,
    worker_only_while_running,
    committed_once,
    committed_only_when_gated,
    completed_with_its_patch,
    half_way_only_while_running,
    ended_with_everything_under_it,
    landed_is_what_is_written,
    retried_no_more_than_allowed,
    written_is_on_the_branch,
)
"""In every state of every world."""
