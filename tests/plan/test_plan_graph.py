"""Waves, order, circles and scope conflicts of a plan."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_defs.plan.graph import ancestors, find_cycles, levels, task_waves, waves
from pipeline_defs.plan.model import Plan
from pipeline_defs.plan.scope import scope_conflicts


def plan_of(*workstreams: dict[str, Any]) -> Plan:
    """Make a plan of workstreams that have one task each unless they say otherwise."""
    return Plan.model_validate(
        {"plan": "demo", "workstreams": [{"tasks": [{"id": "one"}], **ws} for ws in workstreams]}
    )


def test_waves_follow_dependencies_in_plan_order() -> None:
    plan = plan_of(
        {"id": "z"},
        {"id": "last", "depends_on": ["mid", "z"]},
        {"id": "a"},
        {"id": "mid", "depends_on": ["a"]},
        {"id": "side", "depends_on": ["a"]},
    )
    assert waves(plan) == [["z", "a"], ["mid", "side"], ["last"]]


def test_task_waves_follow_dependencies_within_the_workstream() -> None:
    tasks = [{"id": "b", "depends_on": ["a"]}, {"id": "a"}, {"id": "c"}]
    plan = plan_of({"id": "w", "tasks": tasks})
    assert task_waves(plan.workstreams[0]) == [["a", "c"], ["b"]]


def test_what_lies_on_or_behind_a_circle_is_in_no_wave() -> None:
    edges = {"a": ["b"], "b": ["a"], "c": ["b"], "d": ["nowhere"]}
    assert levels(edges) == [["d"]]
    assert find_cycles(edges) == [["a", "b"]]


def test_separate_circles_are_all_found_and_a_self_dependency_is_none() -> None:
    edges = {"a": ["c"], "b": ["a"], "c": ["b"], "x": ["y"], "y": ["x"], "s": ["s"]}
    assert find_cycles(edges) == [["a", "c", "b"], ["x", "y"]]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.dictionaries(
        st.sampled_from("abcdefg"), st.lists(st.sampled_from("abcdefg"), max_size=3), max_size=7
    )
)
def test_either_every_node_has_a_wave_or_a_true_circle_is_named(
    edges: dict[str, list[str]],
) -> None:
    placed = [node for layer in levels(edges) for node in layer]
    for node in placed:
        known = [dep for dep in edges[node] if dep in edges]
        assert all(placed.index(dep) < placed.index(node) for dep in known)
    cycles = find_cycles(edges)
    for cycle in cycles:
        assert len(cycle) > 1
        assert all(b in edges[a] for a, b in zip(cycle, [*cycle[1:], cycle[0]], strict=True))
    loops = any(node in deps for node, deps in edges.items())
    assert (len(placed) == len(edges)) is (not cycles and not loops)


def test_everything_waited_for_is_an_ancestor() -> None:
    assert ancestors({"a": [], "b": ["a"], "c": ["b"]})["c"] == {"a", "b"}


def test_a_long_chain_is_no_burden() -> None:
    edges = {str(n): [str(n - 1)] if n else [] for n in range(3000)}
    assert len(levels(edges)) == 3000
    assert find_cycles(edges) == []


@pytest.mark.parametrize(
    ("one", "two", "conflict"),
    [
        (["src/**"], ["src/core/a.py"], True),
        (["src/"], ["src/a.py"], True),
        (["src/*.py"], ["docs/**"], False),
        (["src/core/**"], ["src/web/**"], False),
        (["docs/*", "src/a.py"], ["lib/**", "src/?.py"], True),
    ],
)
def test_unordered_workstreams_conflict_when_their_scopes_meet(
    one: list[str], two: list[str], conflict: bool
) -> None:
    streams = ({"id": "a", "files_scope": one}, {"id": "b", "files_scope": two})
    assert scope_conflicts(plan_of(*streams)) == ([["a", "b"]] if conflict else [])


def test_ordered_workstreams_never_conflict_even_through_others() -> None:
    plan = plan_of(
        {"id": "c", "depends_on": ["b"], "files_scope": ["src/**"]},
        {"id": "a", "files_scope": ["src/**"]},
        {"id": "b", "depends_on": ["a"], "files_scope": ["docs/**"]},
        {"id": "side", "depends_on": ["a"], "files_scope": ["src/x.py"]},
    )
    assert scope_conflicts(plan) == [["c", "side"]]


def test_files_to_create_count_and_so_do_the_scopes_of_tasks() -> None:
    plan = plan_of(
        {"id": "a", "tasks": [{"id": "one", "files_scope": ["src/a.py"]}]},
        {"id": "b", "files_create": ["src/*.py"]},
        {"id": "c", "tasks": [{"id": "one", "files_create": ["lib/x"]}]},
    )
    assert scope_conflicts(plan) == [["a", "b"]]


def test_a_workstream_without_a_scope_conflicts_with_all_beside_it() -> None:
    plan = plan_of({"id": "a"}, {"id": "b", "files_scope": ["docs/"]}, {"id": "off"})
    assert scope_conflicts(plan) == [["a", "b"], ["a", "off"], ["b", "off"]]
    off = plan_of({"id": "a"}, {"id": "off", "enabled": False})
    assert scope_conflicts(off) == []


def test_unordered_tasks_of_a_workstream_conflict_under_their_full_names() -> None:
    tasks = [
        {"id": "a", "files_scope": ["src/a.py"]},
        {"id": "b", "files_scope": ["src/*.py"]},
        {"id": "c", "depends_on": ["a", "b"], "files_scope": ["src/**"]},
    ]
    assert scope_conflicts(plan_of({"id": "w", "tasks": tasks})) == [["w/a", "w/b"]]


def test_many_tasks_with_files_of_their_own_are_told_apart() -> None:
    tasks = [{"id": f"t{n}", "files_scope": [f"out/{n}.txt"]} for n in range(3000)]
    assert scope_conflicts(plan_of({"id": "w", "tasks": tasks})) == []
