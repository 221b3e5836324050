"""What the parts of a proof share: the work at hand, a part's verdict, gates and audit rows."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from resources.audit.anchor import AnchorError, is_anchored
from resources.gates import closure
from resources.git.command import GitError
from resources.git.commit_text import AUDIT, CommitText
from resources.git.repository import Repository
from resources.proof.entity_history import EntityHistory, history_of
from resources.specs import GateSpec, RunSpec
from state.errors import HistoryDamagedError, PatchlineError
from state.proofs import NotCheckpointedError, prove
from state.store import StateStore


@dataclass(frozen=True)
class Part:
    """One part of a proof: whether it holds, and what it comes to in words."""

    part: str
    ok: bool
    message: str


@dataclass(frozen=True)
class Work:
    """What is to be proved, and with what."""

    store: StateStore
    repository: Repository
    text: CommitText
    spec_of: Callable[[Any], RunSpec]


@dataclass(frozen=True)
class Proof:
    """The parts of a proof, each a method that says what does not agree."""

    work: Work

    @property
    def text(self) -> CommitText:
        """What the commit says."""
        return self.work.text


def part(name: str, problems: Callable[[], Iterable[str]], good: str) -> Part:
    """A part that holds when there are no problems; what git cannot read is one."""
    try:
        found = list(problems())
    except GitError as error:
        found = [f"git cannot tell: {error}"]
    return Part(name, not found, "; ".join(found) or good)


def gate_problems(
    work: Work, rows: Sequence[Any], named: Sequence[str] | None, belongs: Callable[[Any], bool]
) -> Iterator[str]:
    """What is wrong with the gates that judged a commit.

    Args:
        work: the commit.
        rows: the gate rows that belong to it.
        named: the gates that its trailer names; None when it has no such trailer.
        belongs: whether a gate row is one of its own.
    """
    known = {row.gate_id: row for row in rows}
    for gate_id in named if named is not None else ():
        if gate_id not in known:
            found = work.store.find("test_gate", gate_id=gate_id)
            whose = "is another's" if found and not belongs(found[0]) else "is not there"
            yield f"gate {gate_id} {whose}"
    for row in rows:
        what = f"gate {row.name} ({row.gate_id})"
        if named is not None and row.gate_id not in named:
            yield f"{what} judged it too, but the commit does not name it"
        yield from (f"{what} {problem}" for problem in _faults(work, row))
    if not rows:
        yield "no gate judged it"


def _faults(work: Work, row: Any) -> Iterator[str]:
    if row.tree != work.text.tree:
        yield f"ran on the tree {row.tree}, not on the commit's"
    good = row.exit_code in (row.expected_exit_codes or ()) and not row.timed_out
    if row.blocking and (row.state != "PASSED" or not good):
        yield f"did not pass: it is {row.state} with exit code {row.exit_code}"
    problem = history_of(work.store, "test_gate", row).problem
    if problem:
        yield f"has a damaged history: {problem}"


def plan_problems(
    specs: Mapping[str, GateSpec], required: Sequence[str], rows: Sequence[Any]
) -> Iterator[str]:
    """Where the gates that ran are not those that the plan asks for."""
    ran = {row.name: row for row in rows}
    for name in closure([one for one in required if one in specs], specs):
        gate = specs[name]
        if name not in ran:
            yield f"gate {name}, which the plan asks for, did not run"
            continue
        asked = (list(gate.command), list(gate.expected_exit_codes), gate.blocking)
        row = ran[name]
        if (list(row.command or ()), list(row.expected_exit_codes or ()), row.blocking) != asked:
            yield f"gate {name} is not the plan's: its command or its exit codes are others"


def spec_or_problem(work: Work, run: Any) -> RunSpec | str:
    """The spec that a run followed, or why it cannot be told."""
    try:
        return work.spec_of(run)
    except PatchlineError as error:
        return f"its plan cannot be read: {error}"


def audit_part(work: Work, history: EntityHistory, owner: str) -> Part:
    """Whether the event that a commit names is in the history, and what vouches for that.

    Args:
        work: the commit.
        history: the audit rows of what the event belongs to.
        owner: that, in words.
    """
    event = work.text.trailers.get(AUDIT, "")
    words: list[str] = []

    def problems() -> Iterator[str]:
        if history.problem:
            yield f"the history of {owner} is damaged: {history.problem}"
        if event not in [row["event_id"] for row in history.rows]:
            yield f"the event {event or '(none)'} is not in the history of {owner}"
            return
        try:
            words.append(_vouched(work, event))
        except HistoryDamagedError as error:
            yield str(error)

    found = part("audit", problems, "")
    if not found.ok:
        return found
    return Part("audit", True, f"event {event} is in an unbroken history, {words[0]}")


def _vouched(work: Work, event: str) -> str:
    """What vouches for an event that is in the history."""
    try:
        one = prove(work.store, event).checkpoint
    except NotCheckpointedError:
        return "under no checkpoint yet (patchline audit checkpoint makes one)"
    under = f"under checkpoint {one.checkpoint_id} of {one.created_at}"
    try:
        anchored = is_anchored(one, work.repository)
    except AnchorError as error:
        return f"{under}; its anchor cannot be read: {error}"
    return f"{under}, {'anchored' if anchored else 'NOT anchored'} in this repository"
