"""The command of a compensation: argv from the plan, run once on the tree that is there by then.

What people say reaches it twice. `{reason}` becomes part of an argument: safe where a program takes
it as data, shell text where the program is `sh -c`. There `"$PATCHLINE_REASON"` is the safe way.
"""

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from resources.commands.environment import allowed_environment
from resources.commands.processes import Limits, ProcessNotStarted, run_process
from resources.commands.redaction import Redactor, declared_secrets
from resources.rollback.compensation_record import key_of
from resources.tools import exit_reason, limited
from resources.worktrees import Sandbox
from state.crash_points import crash_point

TIMEOUT_SEC = 600.0
NOT_STARTED_EXIT_CODE = 127
_PLACEHOLDER = re.compile(r"\{(worktree|ledger|task|commit|reason|plan_dir)\}")


@dataclass(frozen=True)
class Ended:
    """How one try at an action of a compensation ended.

    Attributes:
        good: it did what it should.
        reason: in words.
        exit_code: of its command or its gates.
        output: what it printed, capped and redacted.
        output_bytes: how much it printed in all.
        recorded: that it is done is in the state already, in the transaction that did it.
        stopped: it was told to stop; nothing is decided.
    """

    good: bool
    reason: str
    exit_code: int = 0
    output: str | None = None
    output_bytes: int | None = None
    recorded: bool = False
    stopped: bool = False


@dataclass(frozen=True)
class Command:
    """One command to be run.

    Attributes:
        row: its action; `arguments` has argv, variables and deadline.
        reason: why the compensation happens.
        plan_dir: the folder of the plan file.
    """

    row: Any
    reason: str
    plan_dir: str

    def run(
        self, sandbox: Sandbox, run_id: str, attempt: int, stop: threading.Event, limits: Limits
    ) -> Ended:
        """Run it to its end in a sandbox; what it changes there is thrown away.

        Args:
            sandbox: shows the tree that the compensation is about.
            run_id: the run it belongs to.
            attempt: counted from 1; more when an earlier one has failed, or has no recorded end.
            stop: set when it must end here.
            limits: output and grace.
        """
        arguments = self.row.arguments
        told = self._variables(run_id, attempt)
        env = allowed_environment(
            allow=arguments.get("env_allow", ()),
            extra={**sandbox.environment, **arguments.get("env", {}), **told},
        )
        values = placeholders(self.row, self.reason, self.plan_dir) | {
            "worktree": str(sandbox.path)
        }
        try:
            done = run_process(
                [expanded(word, values) for word in arguments["command"]],
                cwd=sandbox.path,
                env=env,
                timeout_sec=arguments.get("timeout_sec", TIMEOUT_SEC),
                stop=stop,
                limits=limits,
                redact=Redactor(declared_secrets(env)),
                on_start=_started,
            )
        except ProcessNotStarted as error:
            return Ended(False, str(error), NOT_STARTED_EXIT_CODE)
        if done.stopped:
            return Ended(False, "interrupted", stopped=True)
        good = done.exit_code == 0 and not done.timed_out
        reason = f"timed out after {done.seconds:.1f} s" if done.timed_out else exit_reason(done)
        return Ended(good, reason, done.exit_code, done.output, done.output_bytes)

    def _variables(self, run_id: str, attempt: int) -> dict[str, str]:
        values = placeholders(self.row, self.reason, self.plan_dir)
        about = ("ledger", "task", "commit", "reason")
        return {
            "PATCHLINE_RUN": run_id,
            "PATCHLINE_ACTION": key_of(self.row),
            "PATCHLINE_ACTION_ATTEMPT": str(attempt),
            **{f"PATCHLINE_{name.upper()}": values[name] for name in about},
        }


def placeholders(row: Any, reason: str, plan_dir: str) -> dict[str, str]:
    """What the placeholders of an action mean; `{worktree}` is empty until there is one."""
    return {
        "worktree": "",
        "ledger": row.arguments.get("ledger_id", ""),
        "task": row.arguments.get("task", ""),
        "commit": row.arguments.get("commit", ""),
        "reason": limited(reason),
        "plan_dir": plan_dir,
    }


def expanded(word: str, values: Mapping[str, str]) -> str:
    """A word with its placeholders filled in; values are not expanded again."""
    return _PLACEHOLDER.sub(lambda found: values[found[1]], word)


def _started(_pid: int) -> None:
    crash_point("compensation-command-started", "the command of a compensation runs")
