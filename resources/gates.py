"""Gates: commands from the plan that judge one exact tree by their exit code.

Every execution is a row of `test_gates` (machine `test_gate`) that names the tree it ran on.
Source: design section 4 step 7, decisions G1, G2, T4.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from resources.commands.environment import allowed_environment
from resources.commands.processes import DEFAULT_LIMITS, Limits, ProcessResult, run_process
from resources.commands.redaction import Redactor, declared_secrets
from resources.globs import Globs
from resources.specs import GateSpec
from resources.tools import expand_command, limited
from resources.worktrees import Sandbox
from state.crash_points import crash_point
from state.errors import PatchlineError
from state.lost_transactions import redone_when_lost
from state.store import StateStore
from state.transaction import Transaction

TIMEOUT_EXIT_CODE = 124
NOT_RUN_EXIT_CODE = 127
FEEDBACK_TAIL = 8000
"""Characters of a failed gate's output that the next attempt is told."""


@dataclass(frozen=True)
class Subject:
    """What the gates judge: a commit's tree, and whose it is (columns of the gate rows).

    `prompt`, `scope`, `feedback` and `attempt` are what a task's gates may name in their commands;
    a workstream has none of them. `commit` is the commit that has the tree, where there is one
    already: a patch's is written when its gates have passed, and names them.
    """

    tree: str
    head: str
    run_id: str
    workstream_id: str
    role: str
    task_id: str | None = None
    ledger_id: str | None = None
    label: str = ""
    prompt: str = ""
    scope: tuple[str, ...] = ()
    feedback: str = ""
    attempt: int | None = None
    commit: str | None = None

    def files(self, sandbox: Sandbox) -> list[str]:
        """The files of the judged tree that are in scope."""
        if not self.scope:
            return []
        globs = Globs(self.scope)
        return [file for file in sandbox.repository.tracked_files(self.tree) if globs.matches(file)]


@dataclass(frozen=True)
class Verdict:
    """What the gates said: passed only if at least one ran and every blocking one passed (G2)."""

    passed: bool
    gate_ids: tuple[str, ...]
    failures: tuple[str, ...]
    feedback: str
    stopped: bool = False


def closure(names: Sequence[str], specs: Mapping[str, GateSpec]) -> tuple[str, ...]:
    """The named gates with everything they depend on, dependencies first, each once."""
    ordered: dict[str, None] = {}

    def visit(name: str) -> None:
        if name not in ordered:
            for dependency in specs[name].depends_on:
                visit(dependency)
            ordered[name] = None

    for name in names:
        visit(name)
    return tuple(ordered)


class GateRunner:
    """Runs gates in a sandbox and records every execution.

    Args:
        store: where the executions are recorded.
        specs: the plan's gates.
        limits: output and grace of a gate.
        plan_dir: the folder of the plan file, `{plan_dir}` in commands.
    """

    def __init__(
        self,
        store: StateStore,
        specs: Mapping[str, GateSpec],
        limits: Limits = DEFAULT_LIMITS,
        plan_dir: str = "",
    ) -> None:
        self._store, self._specs, self._limits = store, specs, limits
        self._plan_dir = plan_dir

    def judge(
        self, names: Sequence[str], subject: Subject, sandbox: Sandbox, stop: threading.Event
    ) -> Verdict:
        """Run the gates in order on exactly `subject.tree`; each starts from a clean checkout.

        A gate whose dependency did not pass is recorded as BLOCKED and not run. An advisory gate
        (`blocking: false`) is recorded and stops nobody.
        """
        passed: dict[str, bool] = {}
        gate_ids: list[str] = []
        failures: list[str] = []
        texts: list[str] = []
        for position, name in enumerate(closure(names, self._specs)):
            spec = self._specs[name]
            broken = [d for d in spec.depends_on if not passed[d]]
            gate_id = self._open(name, spec, position, subject, broken)
            gate_ids.append(gate_id)
            if broken:
                passed[name] = False
                if spec.blocking and not failures:
                    # Only advisory gates failed so far; but this one must pass, and did not run.
                    failures.append(f"gate {name} did not run: {', '.join(broken)} did not pass")
                    texts.append(failures[-1])
                continue
            result = self._run(gate_id, name, spec, subject, sandbox, stop)
            good = result.exit_code in spec.expected_exit_codes and not result.timed_out
            passed[name] = good and not result.stopped
            if result.stopped:
                reason = f"gate {name} was interrupted"
                return Verdict(False, tuple(gate_ids), (reason,), reason, stopped=True)
            if not good and spec.blocking:
                failures.append(describe_failure(name, result))
                texts.append(f"{failures[-1]}\n{result.output[-FEEDBACK_TAIL:]}".strip())
        ran = bool(passed)
        return Verdict(ran and not failures, tuple(gate_ids), tuple(failures), "\n\n".join(texts))

    @redone_when_lost
    def _open(
        self, name: str, spec: GateSpec, position: int, subject: Subject, broken: Sequence[str]
    ) -> str:
        """Record that a gate is about to run, or that it cannot because others did not pass."""
        with self._store.batch() as tx:
            row = tx.create(
                "test_gate",
                name=name,
                gate_type=spec.type.value,
                command=list(spec.command),
                task_id=subject.task_id,
                workstream_id=subject.workstream_id,
                run_id=subject.run_id,
                ledger_id=subject.ledger_id,
                role=subject.role,
                position=position,
                tree=subject.tree,
                commit_sha=subject.commit,
                depends_on=list(spec.depends_on),
                expected_exit_codes=list(spec.expected_exit_codes),
                timeout_sec=spec.timeout_sec,
                blocking=spec.blocking,
                retry_of=self._earlier_entry(tx, name, subject),
            )
            if subject.task_id is not None:
                tx.add_task_gate(subject.task_id, row.gate_id, subject.role)
            if broken:
                reason = f"did not pass: {', '.join(broken)}"
                tx.transition("test_gate", row.gate_id, "BLOCKED", reason=reason)
            else:
                tx.transition("test_gate", row.gate_id, "RUNNING")
        return row.gate_id

    def _earlier_entry(self, tx: Transaction, name: str, subject: Subject) -> str | None:
        """The entry gate that this one runs again: the newest of a lineage counts (G2)."""
        if subject.role != "entry":
            return None
        rows = tx.find("test_gate", task_id=subject.task_id, role="entry", name=name)
        return rows[-1].gate_id if rows else None

    def _run(
        self,
        gate_id: str,
        name: str,
        spec: GateSpec,
        subject: Subject,
        sandbox: Sandbox,
        stop: threading.Event,
    ) -> ProcessResult:
        ours = {"PATCHLINE_RUN": subject.run_id, "PATCHLINE_GATE": name}
        extra = {**sandbox.environment, **spec.env, **ours}
        env = allowed_environment(allow=spec.env_allow, extra=extra)
        began = time.monotonic()
        crash_point("gate-opened", "a gate is recorded as running; its process is not started")
        try:
            sandbox.reset(subject.tree, subject.head)
            result = run_process(
                self._command(spec, subject, sandbox),
                cwd=sandbox.path,
                env=env,
                timeout_sec=spec.timeout_sec,
                stop=stop,
                limits=self._limits,
                redact=Redactor(declared_secrets(env)),
                on_start=_started,
            )
        except (PatchlineError, OSError) as error:
            result = _not_run(spec, str(error), time.monotonic() - began)
        crash_point("gate-ended", "a gate's process has ended; how is not recorded")
        self._record(gate_id, spec, result)
        return result

    def _command(self, spec: GateSpec, subject: Subject, sandbox: Sandbox) -> list[str]:
        """The gate's argv: the placeholders of a tool's command, empty where there is no task."""
        values = {
            "prompt": limited(subject.prompt),
            "worktree": str(sandbox.path),
            "feedback": limited(subject.feedback),
            "task": subject.label,
            "attempt": "" if subject.attempt is None else str(subject.attempt),
            "plan_dir": self._plan_dir,
        }
        # Listed only where it is asked for: the gates of a patch run while others wait to land.
        asked = any("{files}" in argument for argument in spec.command)
        return expand_command(spec.command, values, subject.files(sandbox) if asked else ())

    def _record(self, gate_id: str, spec: GateSpec, result: ProcessResult) -> None:
        exit_code = TIMEOUT_EXIT_CODE if result.timed_out else result.exit_code
        good = exit_code in spec.expected_exit_codes and not result.timed_out
        trigger = None
        if result.timed_out:
            trigger = "timeout_exceeded"
        elif result.stopped:
            good, trigger = False, "user_cancelled"
        self._store.transition(
            "test_gate",
            gate_id,
            "PASSED" if good else "FAILED",
            trigger=trigger,
            exit_code=exit_code,
            timed_out=result.timed_out,
            output=result.output,
            output_bytes=result.output_bytes,
            seconds=result.seconds,
        )


def _started(_pid: int) -> None:
    crash_point("gate-started", "a gate's process runs")


def _not_run(spec: GateSpec, message: str, seconds: float) -> ProcessResult:
    """A gate that could not be executed has failed, with the shell's code for that."""
    return ProcessResult(
        argv=spec.command,
        exit_code=NOT_RUN_EXIT_CODE,
        signal=None,
        timed_out=False,
        silent=False,
        stopped=False,
        seconds=seconds,
        output=message,
        output_bytes=len(message.encode()),
        cpu_user_sec=0.0,
        cpu_system_sec=0.0,
        max_rss_bytes=0,
        leftovers_killed=0,
        leftovers_alive=(),
    )


def describe_failure(name: str, result: ProcessResult) -> str:
    """One line that says which gate failed and how."""
    if result.timed_out:
        return f"gate {name} ran into its deadline after {result.seconds:.1f} s"
    return f"gate {name} failed with exit code {result.exit_code}"
