"""The machines are those of the specification, word for word."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from state.machines import MACHINES, machines_document

SPEC: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "machines.yaml").read_text())


def expected_triggers(spec: dict[str, Any], source: str, target: str, own: str) -> list[str]:
    others = spec.get("other_triggers", {})
    return [own, *others.get(f"{source}->{target}", []), *others.get(f"*->{target}", [])]


def expected_transitions(spec: dict[str, Any]) -> list[dict[str, Any]]:
    severity = spec.get("severity", {})
    return [
        {
            "from": source,
            "to": target,
            "triggers": expected_triggers(spec, source, target, trigger),
            "severity": severity.get(f"{source}->{target}", severity.get(f"*->{target}", "info")),
            "extension": part == "extensions",
        }
        for part in ("transitions", "extensions")
        for source, targets in spec.get(part, {}).items()
        for target, trigger in targets.items()
    ]


@pytest.mark.parametrize("name", SPEC)
def test_a_machine_equals_its_specification(name: str) -> None:
    spec, document = SPEC[name], machines_document()[name]

    assert {key: document[key] for key in ("table", "key", "initial")} == {
        key: spec[key] for key in ("table", "key", "initial")
    }
    assert sorted(document["terminal"]) == sorted(spec["terminal"])
    assert document["transitions"] == expected_transitions(spec)
    mentioned = set(spec["transitions"]) | {
        target for targets in spec["transitions"].values() for target in targets
    }
    assert sorted(document["states"]) == sorted(mentioned)


def test_there_are_eight_machines_with_51_states_66_transitions_and_9_extensions() -> None:
    assert list(MACHINES) == list(SPEC)
    assert sum(len(one.states) for one in MACHINES.values()) == 51
    edges = [edge for one in MACHINES.values() for edge in one.all_transitions()]
    assert sum(not edge.extension for edge in edges) == 66
    assert sum(edge.extension for edge in edges) == 9


def test_every_state_is_reachable_and_only_terminal_ones_lead_nowhere() -> None:
    for machine in MACHINES.values():
        assert {edge.target for edge in machine.all_transitions()} | {machine.initial} == set(
            machine.states
        )
        ends = {state for state in machine.states if not machine.targets(state, strict=True)}
        assert ends == machine.terminal


def test_machines_cannot_be_changed_at_run_time() -> None:
    with pytest.raises(TypeError):
        MACHINES["run"] = MACHINES["task"]  # type: ignore[index]
    with pytest.raises(TypeError):
        MACHINES["run"].transitions["pending"]["failed"] = None  # type: ignore[index]
