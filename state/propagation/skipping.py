"""Which workstreams do not run because they, or what they depend on, are disabled."""

from collections.abc import Collection, Iterable, Mapping


def skipped_closure(
    depends_on: Mapping[str, Iterable[str]], disabled: Collection[str], skipped_satisfies: bool
) -> set[str]:
    """Disabled workstreams and, unless the plan lets them run, all that depend on them (W5).

    Args:
        depends_on: workstream -> what it depends on, for those that can still be skipped.
        disabled: those that are disabled or skipped already.
        skipped_satisfies: the plan's option: a skipped dependency counts as done.
    """
    skipped = set(disabled)
    if skipped_satisfies:
        return skipped
    dependents: dict[str, list[str]] = {}
    for one, needs in depends_on.items():
        for need in needs:
            dependents.setdefault(need, []).append(one)
    waiting = list(skipped)
    while waiting:
        for one in dependents.get(waiting.pop(), ()):
            if one not in skipped:
                skipped.add(one)
                waiting.append(one)
    return skipped
