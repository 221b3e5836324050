"""What a rollback would do, found out without changing anything."""

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from resources.git.repository import Repository
from resources.git.repository_turn import RepositoryLocked
from resources.landing.busy_checkouts import CheckoutBusy
from resources.landing.moving import is_on
from resources.landing.required_gates import SpecOfRun, declared, origins
from resources.landing.target_branch import TargetBranch, TargetGone
from resources.rollback.compensation import USUAL, CompensationPlan, Step, Taken, compose
from resources.rollback.compensation_record import actions_of, recorded_plan
from resources.rollback.report import RollbackReport, planned
from resources.rollback.retrying import rollbacks_of, without_done
from resources.rollback.reverting import Closure, closure
from resources.specs import CompensationAction
from state.errors import PatchlineError, PreflightError
from state.machines import MACHINES
from state.store import StateStore

WORKSTREAM_ENDED = MACHINES["workstream"].terminal


class RollbackRefused(PatchlineError):
    """The entry cannot be taken back; nothing has changed."""

    code = "rollback_refused"

    def __init__(self, ledger_id: str, message: str, hint: str | None = None) -> None:
        self.ledger_id, self.message, self.hint = ledger_id, message, hint
        super().__init__(f"{message}; {hint}" if hint else message)


class RollbackBlocked(RollbackRefused):
    """Later changes of the same lines are in the way; nothing has changed."""

    code = "rollback_blocked"

    def __init__(
        self, report: RollbackReport, ledger_id: str, message: str, hint: str | None = None
    ) -> None:
        self.report = report
        super().__init__(ledger_id, message, hint)


@dataclass(frozen=True)
class Survey:
    """What a rollback would do, found out without changing anything.

    Attributes:
        entry: the ledger entry that was asked for.
        branch: the branch it would be taken back on.
        on_target: whether that is the run's target, and not the workstream's own branch.
        head: where that branch is.
        closure: what must be taken back together with it.
        entries: rows of all of that, the newest first.
        steps: what would be done.
        plan: by which plan.
        given: whether somebody gave it, instead of what the tasks declare.
        task: whose work it is, for people.
        earlier: failed plans that it goes on from: what has succeeded in them is not among the
            steps.
    """

    entry: Any
    branch: str
    on_target: bool
    head: str
    closure: Closure
    entries: tuple[Any, ...]
    steps: tuple[Step, ...]
    plan: CompensationPlan
    given: bool
    task: str
    earlier: tuple[str, ...] = ()

    def refuse_blocked(self, *, cascade: bool) -> None:
        """Raise RollbackRefused when it cannot be done like that.

        Args:
            cascade: whether later patches of ours may be taken back too.
        """
        found, key = self.closure, self.entry.ledger_id
        blocked = partial(RollbackBlocked, self.report("refused"), key)
        if found.foreign:
            named = ", ".join(f"{one.commit[:12]} ({one.whose})" for one in found.foreign)
            paths = _listed(found.foreign[0].paths)
            raise blocked(
                f"a commit that is no patch of ours changed the same lines of {paths} later: "
                f"{named}",
                "take that back first, or revert by hand",
            )
        if found.stuck:
            paths = _listed(found.stuck)
            message = f"{key} cannot be taken out of {_listed(found.stuck)} any more"
            raise blocked(message, f"revert it by hand; see git log -- {paths}")
        if found.blockers and not cascade:
            named = ", ".join(f"{one.ledger_id} ({one.whose})" for one in found.blockers)
            paths = _listed(path for one in found.blockers for path in one.paths)
            raise blocked(
                f"later patches changed the same lines of {paths}: {named}",
                "take them back first, or all of them together with --cascade",
            )

    def report(self, outcome: str) -> RollbackReport:
        """What would be done, in the words of what was."""
        return RollbackReport(
            plan_id=None,
            ledger_id=self.entry.ledger_id,
            state=self.entry.state,
            outcome=outcome,
            target=self.branch,
            head=self.head,
            actions=tuple(planned(step) for step in self.steps),
            blockers=self.closure.blockers,
        )


def _given_before(earlier: Sequence[Any], ledger_id: str) -> CompensationPlan | None:
    """The plan that somebody gave when the same was asked for before and failed."""
    asked = [plan for plan in earlier if plan.ledger_id == ledger_id]
    plan, given = recorded_plan(asked[-1]) if asked else (None, False)
    return plan if given else None


def _listed(paths: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(paths))


class Surveyor:
    """Looks at entries of one run.

    Args:
        store: the state.
        repository: the run's repository.
        specs: what each run of the store followed.
    """

    def __init__(self, store: StateStore, repository: Repository, specs: SpecOfRun) -> None:
        self._store, self._repository, self._specs = store, repository, specs

    def survey(self, ledger_id: str, given: CompensationPlan | None = None) -> Survey:
        """Find out what taking an entry back means now.

        Args:
            ledger_id: an entry of the run.
            given: what somebody wants done, instead of what its tasks declare.

        Raises:
            RollbackRefused: it is in no state to be taken back, or its commit on no branch.
            PreflightError: its workstream is still at work, or its branch cannot be landed on.
        """
        entry = self._store.get("patch_ledger", ledger_id)
        self._refuse_by_state(entry)
        on_target, branch, head = self._place(entry)
        with tempfile.TemporaryDirectory(prefix="patchline-") as folder:
            scratch = self._repository.with_new_objects(Path(folder))
            found = closure(scratch, head, entry.commit_sha, self._owner)
        by_commit = {one.commit: one.ledger_id for one in found.blockers if one.ledger_id}
        by_commit[entry.commit_sha] = ledger_id
        rows = [self._store.get("patch_ledger", by_commit[commit]) for commit in found.commits]
        earlier = rollbacks_of(self._store, [row.ledger_id for row in rows])
        given = given or _given_before(earlier, ledger_id)
        plan = given or CompensationPlan(actions=USUAL)
        steps = compose([self._taken(row, given) for row in rows], plan.order, revert=True)
        return Survey(
            entry=entry,
            branch=branch,
            on_target=on_target,
            head=head,
            closure=found,
            entries=tuple(rows),
            steps=without_done(steps, self._tried(earlier)),
            plan=plan,
            given=given is not None,
            task=self._name(entry),
            earlier=tuple(one.plan_id for one in earlier if one.outcome is not None),
        )

    def other_steps(self, failed: Any, given: CompensationPlan) -> tuple[Step, ...]:
        """What a given plan has left to do about entries that a failed one has taken back."""
        rows = [self._store.get("patch_ledger", key) for key in failed.entries]
        steps = compose([self._taken(row, given) for row in rows], given.order, revert=False)
        wanted = (step for step in steps if step.action is not CompensationAction.GIT_REVERT)
        earlier = rollbacks_of(self._store, failed.entries)
        return without_done(wanted, self._tried(earlier))

    def _tried(self, plans: Iterable[Any]) -> list[Any]:
        return [action for plan in plans for action in actions_of(self._store, plan.plan_id)]

    def _refuse_by_state(self, entry: Any) -> None:
        key, state = entry.ledger_id, entry.state
        if state == "committed":
            return
        if state == "rolled_back":
            by = f" by {entry.reverted_by}" if entry.reverted_by else ""
            raise RollbackRefused(
                key,
                f"{key} has been rolled back already{by}, {entry.rolled_back_at}",
                f"to have it again, roll {entry.reverted_by} back" if entry.reverted_by else None,
            )
        hints = {
            "quarantined": f"discard it with `patchline patch drop {key}`, or land another one in "
            f"its place with `patchline patch replace {key} FILE`",
            "dropped": "there is nothing to take back",
        }
        hint = hints.get(state, "wait until it has landed, or resume its run")
        raise RollbackRefused(key, f"{key} is {state}: it has not landed", hint)

    def _place(self, entry: Any) -> tuple[bool, str, str]:
        """Whether it is on the target, on which branch, and where that stands."""
        run = self._store.get("run", entry.run_id)
        workstream = self._store.get("workstream", entry.workstream_id)
        if self._contains(run.target, entry.commit_sha):
            return True, run.target, self._fit_head(run.target)
        if workstream.state not in WORKSTREAM_ENDED:
            raise PreflightError(
                f"the workstream {workstream.slug} of {entry.ledger_id} is {workstream.state}",
                hint=f"let it end first: patchline resume {entry.run_id}",
            )
        if workstream.branch and self._contains(workstream.branch, entry.commit_sha):
            return False, workstream.branch, self._fit_head(workstream.branch)
        raise RollbackRefused(
            entry.ledger_id,
            f"the commit {entry.commit_sha} of {entry.ledger_id} is neither on {run.target} nor on "
            f"{workstream.branch}",
            "if it is on another branch by now, take it back there with git revert",
        )

    def _fit_head(self, branch: str) -> str:
        target = TargetBranch(self._repository, branch)
        try:
            target.refuse_unfit()
        except (CheckoutBusy, TargetGone, RepositoryLocked) as error:
            raise PreflightError(str(error)) from error
        return target.head()

    def _contains(self, branch: str, commit: str) -> bool:
        return is_on(self._repository, commit, self._repository.branch_head(branch))

    def _owner(self, commit: str) -> tuple[str, str] | None:
        """Entry and task of a commit of ours that can be taken back, of whichever run."""
        rows = self._store.find("patch_ledger", commit_sha=commit, state="committed")
        return (rows[0].ledger_id, self._name(rows[0])) if rows else None

    def _name(self, entry: Any) -> str:
        """The task that an entry has work of, for people."""
        found = origins(self._store, entry)
        return found[0].name if found else entry.ledger_id

    def _taken(self, entry: Any, given: CompensationPlan | None) -> Taken:
        actions = USUAL
        if given is not None:
            actions = given.actions
        elif entry.task_id or entry.replaces:  # what makes up for a change is not for undoing that
            actions = declared(self._specs, origins(self._store, entry)[0]) or USUAL
        return Taken(
            task=self._name(entry),
            actions=actions,
            task_id=entry.task_id,
            ledger_id=entry.ledger_id,
            commit=entry.commit_sha,
        )
