"""Everything that follows from the states of a run, in the order in which it may be applied.

One call gives the whole cascade: tasks before their workstream, workstreams before the run
(decisions R3). It is a function of the stored facts alone, so that whoever is cut short between two
steps, and whoever reads the rows again, comes to the same end.

Left out is what opens work: `ready` needs a branch, `queued` a worker, `validating` a head. They
are done by those who have these, and the store holds the dependencies against them too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from state.machines import MACHINES
from state.propagation.dependencies import UNKNOWN
from state.propagation.facts import (
    Policy,
    Proposal,
    RunFacts,
    Step,
    TaskFacts,
    WorkstreamFacts,
)
from state.propagation.lineages import lineages, standing
from state.propagation.outcome import derive_cancelled_run, derive_run
from state.propagation.tasks import AT_WORK, next_of_waiting_task
from state.propagation.tasks import WAITING as TASK_WAITING
from state.propagation.workstreams import WAITING as WS_WAITING
from state.propagation.workstreams import (
    derive_workstream,
    next_of_waiting_workstream,
    skipped_workstreams,
    unreachable,
)

RUN_ENDED = MACHINES["run"].terminal
BEGUN = AT_WORK | {"completed", "failed"}


def cascade(facts: RunFacts, policy: Policy) -> list[Step]:
    """The steps that the facts call for, to be applied in this order; empty when all is settled.

    A run that has not started is left alone, unless somebody asked to cancel it. What still lives
    under one that has ended (somebody ended it by hand, or made a task late) ends too.
    """
    if facts.state == "pending" and facts.cancel is None:
        return []
    return _Cascade(facts, policy).steps()


def task_step(facts: RunFacts, task_id: str, policy: Policy) -> Step | None:
    """What becomes of one waiting task by its dependencies alone; None when it goes on waiting."""
    if facts.state != "running":
        return None
    return _Cascade(facts, policy).waiting_task(task_id)


@dataclass(frozen=True, slots=True)
class _End:
    """How a workstream is to end, and what its unfinished tasks are told."""

    path: tuple[Proposal, ...]
    task_trigger: str
    reason: str
    operator: str | None = None
    asked_by: str | None = None


@dataclass
class _Cascade:
    """The facts as they will be once the steps so far are applied."""

    facts: RunFacts
    policy: Policy
    done: list[Step] = field(default_factory=list[Step])

    def __post_init__(self) -> None:
        self._tasks = {task.task_id: task for task in self.facts.tasks}
        self._streams = {one.ws_id: one for one in self.facts.workstreams}
        self._of: dict[str, list[str]] = {ws_id: [] for ws_id in self._streams}
        for task in self.facts.tasks:
            self._of.setdefault(task.workstream_id, []).append(task.task_id)
        deep = lineages(self.facts.tasks)
        self._roots = {task_id: root for task_id, (root, _) in deep.items()}
        stand = standing(self.facts.tasks, deep)
        self._standing = {root: task.task_id for root, task in stand.items()}
        self._dependents: dict[str, list[str]] = {}
        for task in self.facts.tasks:
            for need in self._needs(task):
                self._dependents.setdefault(need.task_id, []).append(task.task_id)

    def steps(self) -> list[Step]:
        """Apply the rules to one another until nothing follows any more."""
        if self.facts.cancel is None and not self._run_ended:
            self._settle_tasks(list(self._tasks))
        before = -1
        while before != len(self.done):
            before = len(self.done)
            skipped = skipped_workstreams(self._streams.values(), self.policy.skipped_satisfies)
            for ws_id in self._streams:
                self._settle_workstream(self._streams[ws_id], skipped.get(ws_id))
        if not self._run_ended:
            self._settle_run()
        return self.done

    @property
    def _run_ended(self) -> bool:
        return self.facts.state in RUN_ENDED

    def _may(self, machine: str, source: str, target: str) -> bool:
        return MACHINES[machine].find(source, target, strict=self.policy.strict) is not None

    # -- tasks -------------------------------------------------------------------------------------

    def _needs(self, task: TaskFacts) -> list[TaskFacts]:
        return [
            self._tasks[self._standing[self._roots[need]]]
            if need in self._tasks
            else TaskFacts(need, UNKNOWN)
            for need in task.depends_on
        ]

    def waiting_task(self, task_id: str) -> Step | None:
        """The step of a pending or blocked task, or None. Being queued is the claim's."""
        task = self._tasks[task_id]
        if task.state not in TASK_WAITING:
            return None
        proposal = next_of_waiting_task(task, self._needs(task))
        if proposal is None or proposal.state == "queued":
            return None
        if not self._may("task", task.state, proposal.state):
            return None
        return Step("task", task_id, task.version, (proposal,))

    def _settle_tasks(self, waiting: list[str]) -> None:
        """Block, unblock and cancel these tasks, and whatever depends on them."""
        queue = list(reversed(waiting))
        while queue:
            task_id = queue.pop()
            step = self.waiting_task(task_id)
            if step is not None:
                self._take(step)
                queue += reversed(self._dependents.get(task_id, []))

    def _cancel_tasks(
        self, ws_id: str, trigger: str, reason: str, asked_by: str | None = None
    ) -> bool:
        """Cancel what is unfinished in a workstream; whether all of it has ended then.

        Dependents go before what they depend on: one that is left when this is cut short has then
        lost no dependency, and gets the same reason later. A validating task waits for its verdict
        (R3), and in a strict store one that is not running stays as it is.
        """
        unfinished = [one for one in self._of[ws_id] if not self._tasks[one].ended]
        going = [
            one for one in unfinished if self._may("task", self._tasks[one].state, "cancelled")
        ]
        for task_id in self._dependents_first(going):
            version = self._tasks[task_id].version
            proposal = Proposal("cancelled", trigger, reason)
            self._take(Step("task", task_id, version, (proposal,), asked_by=asked_by))
        for task_id in going:  # dependents outside the workstream, if there are any
            self._settle_tasks(self._dependents.get(task_id, []))
        return going == unfinished

    def _dependents_first(self, task_ids: Sequence[str]) -> list[str]:
        left = dict.fromkeys(task_ids, 0)  # how many dependents, among them, are still to come
        for task_id in left:
            for need in self._needs(self._tasks[task_id]):
                if need.task_id in left:
                    left[need.task_id] += 1
        free = [task_id for task_id, waiting in left.items() if not waiting]
        ordered: list[str] = []
        while free:
            ordered.append(free.pop())
            for need in self._needs(self._tasks[ordered[-1]]):
                if need.task_id in left:
                    left[need.task_id] -= 1
                    if not left[need.task_id]:
                        free.append(need.task_id)
        return ordered + [task_id for task_id, waiting in left.items() if waiting]

    # -- workstreams -------------------------------------------------------------------------------

    def _settle_workstream(self, one: WorkstreamFacts, skip: Proposal | None) -> None:
        if one.ended:
            reason = f"its workstream {one.name} has ended"
            self._cancel_tasks(one.ws_id, "dependency_failed", reason)
            return
        if one.state == "validating":
            return
        end = self._end(one, skip)
        if end is not None:
            asked_by = end.operator or end.asked_by
            if self._cancel_tasks(one.ws_id, end.task_trigger, end.reason, asked_by):
                step = Step("workstream", one.ws_id, one.version, end.path, end.operator)
                self._take(replace(step, asked_by=end.asked_by))
            return
        proposal = self._onward(one)
        if proposal is not None:
            self._take(Step("workstream", one.ws_id, one.version, (proposal,)))

    def _end(self, one: WorkstreamFacts, skip: Proposal | None) -> _End | None:
        """How a workstream must end now; None when it need not."""
        if self._run_ended:
            return self._cancelled(one, "dependency_failed", f"its run is {self.facts.state}")
        if wish := self.facts.cancel:
            end = self._cancelled(one, "user_cancelled", wish.reason)
            return end and replace(end, asked_by=wish.operator)
        if wish := one.cancel:
            trigger = "user_cancelled" if wish.operator else "dependency_failed"
            end = self._cancelled(one, trigger, wish.reason)
            return end and replace(end, operator=wish.operator)
        if skip is not None:
            reason = skip.reason or "skipped"
            return _End((skip,), "dependency_failed" if one.enabled else "user_cancelled", reason)
        if one.state in WS_WAITING or one.state == "ready":
            lost = unreachable(one, self._streams, self.policy.skipped_satisfies)
            if lost is not None:
                return self._unreachable(one, lost)
        if self.policy.stop_on_critical_failure and self._critical_failure():
            return self._cancelled(one, "critical_sibling_failed", "a critical workstream failed")
        return self._failed(one)

    def _unreachable(self, one: WorkstreamFacts, lost: Proposal) -> _End | None:
        reason = lost.reason or "its dependencies cannot complete"
        if one.state == "planned" and self._may("workstream", "blocked", lost.state):
            waiting = next_of_waiting_workstream(one, self._streams, self.policy.skipped_satisfies)
            return _End((*((waiting,) if waiting else ()), lost), "dependency_failed", reason)
        end = self._cancelled(one, lost.trigger, reason)
        return end and replace(end, task_trigger="dependency_failed")

    def _cancelled(self, one: WorkstreamFacts, trigger: str, reason: str) -> _End | None:
        """Its cancelling, by that trigger where the machine has it; None where it cannot be."""
        found = MACHINES["workstream"].find(one.state, "cancelled", strict=self.policy.strict)
        if found is None:
            return None
        own = trigger if trigger in found.triggers else found.trigger
        return _End((Proposal("cancelled", own, reason),), trigger, reason)

    def _critical_failure(self) -> bool:
        return any(one.state == "failed" and one.is_critical for one in self._streams.values())

    def _failed(self, one: WorkstreamFacts) -> _End | None:
        """That the tasks or patches of a workstream have failed it (W2, W6, W7)."""
        if one.state not in ("ready", "executing"):
            return None
        proposal = self._derived(one)
        if proposal is None or proposal.state != "failed":
            return None
        reason = proposal.reason or "a critical task failed"
        if one.state == "executing":
            return _End((proposal,), "critical_sibling_failed", reason)
        if any(self._tasks[task_id].state in BEGUN for task_id in self._of[one.ws_id]):
            began = Proposal("executing", "first_task_started")
            return _End((began, proposal), "critical_sibling_failed", reason)
        return self._cancelled(one, "user_cancelled", reason)  # none of its tasks could begin

    def _derived(self, one: WorkstreamFacts) -> Proposal | None:
        return derive_workstream(
            [self._tasks[task_id] for task_id in self._of[one.ws_id]],
            self.facts.ledger.get(one.ws_id, ()),
            self.policy.allow_noncritical_failures,
        )

    def _onward(self, one: WorkstreamFacts) -> Proposal | None:
        """The next step of a workstream that goes on, as far as nothing needs doing for it."""
        if one.state == "planned":
            proposal = next_of_waiting_workstream(one, self._streams, self.policy.skipped_satisfies)
            return proposal if proposal and proposal.state == "blocked" else None
        if one.state == "ready":
            proposal = self._derived(one)
            return proposal if proposal and proposal.state == "executing" else None
        return None

    # -- the run -----------------------------------------------------------------------------------

    def _settle_run(self) -> None:
        if not all(task.ended for task in self._tasks.values()):
            return
        streams: Sequence[WorkstreamFacts] = list(self._streams.values())
        cancel = self.facts.cancel
        if cancel is None:
            proposal = derive_run(streams, self.policy.allow_noncritical_failures)
        else:
            proposal = derive_cancelled_run(self.facts.state, streams, cancel)
        if proposal is not None:
            operator = cancel.operator if cancel and proposal.state == "canceled" else None
            run = self.facts
            self.done.append(Step("run", run.run_id, run.version, (proposal,), operator))

    # -- taking a step -----------------------------------------------------------------------------

    def _take(self, step: Step) -> None:
        """Note a step, and go on from the state that it gives."""
        self.done.append(step)
        version = step.version + len(step.path)
        if step.entity_type == "task":
            task = self._tasks[step.entity_id]
            self._tasks[task.task_id] = replace(task, state=step.target, version=version)
        else:
            one = self._streams[step.entity_id]
            self._streams[one.ws_id] = replace(one, state=step.target, version=version)
