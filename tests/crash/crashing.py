"""Killing a command at a point, taking it up again, and what became of what was half-way."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from resources.patches.ledger import UNLANDED
from state.machines import MACHINES
from tests.crash.arena import Arena, Ended
from tests.crash.scenarios import KILLED, SCENARIOS, Scenario
from tests.crash.sound import assert_whole, outcome

RUN_ENDED = MACHINES["run"].terminal
DONE_BEFORE = ("Ended runs are never reopened", "rolled back already", "discarded already")
"""What commands say that are asked again when they had done everything before they were killed."""


@dataclass(frozen=True)
class Baseline:
    """A scenario in which nobody was killed.

    Attributes:
        scenario: which.
        code: the command's exit code.
        passed: the points, in the order in which they were passed.
        outcome: see `tests.crash.sound.outcome`.
        seconds: how long it took.
    """

    scenario: Scenario
    code: int
    passed: tuple[str, ...]
    outcome: dict[str, Any]
    seconds: float

    @cached_property
    def points(self) -> frozenset[str]:
        return frozenset(self.passed)


@dataclass(frozen=True)
class Crash:
    """What a kill left half-way, and what became of it.

    Attributes:
        told: for the matrix, one sentence for each kind of thing that was half-way.
    """

    baseline: Baseline
    told: str


class Crashes:
    """Crashes commands in one folder, each scenario once undisturbed before.

    Args:
        arena: the folder.
    """

    def __init__(self, arena: Arena) -> None:
        self.arena = arena
        self._baselines: dict[str, Baseline] = {}

    def baseline(self, scenario: Scenario) -> Baseline:
        """The scenario without a kill; run once."""
        if scenario.told not in self._baselines:
            words = scenario.begin(self.arena)
            began = time.monotonic()
            done = self.arena.run(words, note=True)
            seconds = time.monotonic() - began
            assert done.code in (0, 1), f"{scenario.told}: {done.out}\n{done.err}"
            assert_whole(self.arena)
            found = Baseline(scenario, done.code, done.passed, outcome(self.arena), seconds)
            self._baselines[scenario.told] = found
        return self._baselines[scenario.told]

    def reaching(self, point: str) -> Iterator[Baseline]:
        """The scenarios that pass a point, in their order; each is run when it is asked for."""
        return (one for one in map(self.baseline, SCENARIOS) if point in one.points)

    def first(self, point: str) -> Baseline:
        """The first scenario that passes a point."""
        found = next(self.reaching(point), None)
        assert found, f"no scenario in tests/crash/scenarios.py passes `{point}`: add one"
        return found

    def crash(self, point: str, baseline: Baseline, nth: int = 1) -> Crash:
        """Kill at a point, the first time or a later one; take up; look at everything."""
        words = baseline.scenario.begin(self.arena)
        killed = self.arena.run(words, armed=f"{point}:{nth}")
        assert killed.code == KILLED, f"it never came to {point}: {killed}"
        half_way, asked = HalfWay(self.arena), again(self.arena, words)
        self.assert_as_undisturbed(baseline, self.take_up(words))
        return Crash(baseline, half_way.told(asked))

    def take_up(self, words: Sequence[str]) -> Ended:
        """What a person does after a crash; `resume` clears up behind a command that was done."""
        done = self.arena.run(again(self.arena, words))
        if words[0] != "run" and was_done(done):
            self.arena.run(again(self.arena, ["run"]))
        return done

    def assert_as_undisturbed(self, baseline: Baseline, done: Ended) -> None:
        """Nothing is lost, doubled or left, and all is as if nobody had been killed."""
        assert done.code == baseline.code or was_done(done), f"{done.out}\n{done.err}"
        assert_whole(self.arena)
        found = outcome(self.arena)
        other = {key: (it, found[key]) for key, it in baseline.outcome.items() if it != found[key]}
        assert not other, f"not as without a kill: {other}"


def was_done(ended: Ended) -> bool:
    """Whether a command says that all of it was done before."""
    return any(words in f"{ended.out}\n{ended.err}" for words in DONE_BEFORE)


def again(arena: Arena, words: Sequence[str]) -> Sequence[str]:
    """How a command is taken up: a run that has rows is resumed."""
    runs = arena.rows("SELECT run_id FROM runs ORDER BY created_at")
    if words[0] == "run" and runs:
        return ["resume", runs[-1][0], "--json"]
    return words


HALF_WAY: Mapping[str, tuple[str, frozenset[str]]] = {
    "run": ("SELECT run_id, state FROM runs", frozenset({"pending", "running"})),
    "workstream": ("SELECT ws_id, state FROM workstreams", frozenset({"validating"})),
    "task": ("SELECT task_id, state FROM tasks", frozenset({"running", "validating"})),
    "patch_ledger": ("SELECT ledger_id, state FROM patch_ledger_entries", frozenset(UNLANDED)),
    "test_gate": ("SELECT gate_id, state FROM test_gates", frozenset({"RUNNING"})),
}
"""Kinds of rows, and the states in which a process is at work on them."""
WORDS = {"patch_ledger": "patch", "test_gate": "gate"}


class HalfWay:
    """The rows that a kill left half-way, and where they went from there."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._rows = {
            (kind, key): state
            for kind, (query, states) in HALF_WAY.items()
            for key, state in arena.rows(query)
            if state in states
        }
        self._last = (arena.rows("SELECT max(transition_id) FROM state_transitions") or [(0,)])[0][
            0
        ]

    def told(self, asked: Sequence[str]) -> str:
        """Each kind with its steps; the same for every crash at the same place.

        Args:
            asked: the command that took it up.
        """
        rows = {at: state for at, state in self._rows.items() if at[0] != "run"} or self._rows
        if rows:
            parts = [self._path(kind, key, state) for (kind, key), state in rows.items()]
            return "; ".join(dict.fromkeys(parts))
        if asked[0] == "resume":
            return "the run had ended: resuming it cleared up behind it"
        return "asked again, it was done"

    def _path(self, kind: str, key: str, state: str) -> str:
        query = (
            "SELECT to_state FROM state_transitions WHERE entity_type = ? AND entity_id = ?"
            " AND transition_id > ? AND from_state != to_state ORDER BY transition_id"
        )
        steps = [one for (one,) in self._arena.rows(query, kind, key, self._last or 0)]
        shown = [state, *(steps if len(steps) < 3 else [steps[0], "…", steps[-1]])]
        return f"{WORDS.get(kind, kind)} {' → '.join(shown)}"
