"""The generic command adapter: a tool of a plan, run once in a worktree.

What a tool is told comes through its arguments (placeholders) and variables (PATCHLINE_*). What
it says about its success counts for nothing: its exit code and what it changed do. Design,
section 4, step 4.

Limits of the system: one argument or variable may have 128 KiB. So `{prompt}`, `{feedback}` and
their variables carry at most the last 60 KiB of longer texts, below a line that says how much is
missing. PATCHLINE_FILES holds as many whole lines from the end as fit; `{files}` is complete.
"""

import re
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from resources.commands.environment import allowed_environment
from resources.commands.processes import (
    DEFAULT_LIMITS,
    Limits,
    ProcessNotStarted,
    ProcessResult,
    run_process,
)
from resources.commands.redaction import Redactor, declared_secrets
from resources.specs import ToolSpec
from state.crash_points import crash_point
from state.errors import PatchlineError

TEXT_LIMIT = 60 * 1024  # bytes; two such texts fit into one argument
_REASON_LENGTH = 200

_PLACEHOLDER = re.compile(r"\{(prompt|files|worktree|feedback|task|attempt|plan_dir)\}")
_TERMINAL_CODES = re.compile(r"\x1b\[[0-9;?]{0,32}[A-Za-z]")


class CommandExpansionError(PatchlineError):
    """A value cannot be put into the command line."""

    code = "command_expansion"


class ToolOutcome(StrEnum):
    """How one execution of a tool ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    PERMANENT = "permanent"
    TIMED_OUT = "timed_out"
    SILENT = "silent"
    STOPPED = "stopped"
    NOT_STARTED = "not_started"


@dataclass(frozen=True, slots=True)
class ToolRun:
    """One execution to be done.

    `task` is `workstream/task`, `files` are relative to `worktree`. `timeout_sec` (seconds) wins
    over the tool's own. `env` are the task's variables; they win over the tool's.
    """

    spec: ToolSpec
    prompt: str
    files: Sequence[str]
    worktree: Path
    run_id: str
    task: str
    attempt: int
    plan_dir: Path
    feedback: str = ""
    timeout_sec: float | None = None
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What came of it. `reason` is a sentence for people; `output` is capped and redacted.

    `retryable`: a further attempt may do better (decisions T1, T2). `exit_code` is None when the
    tool was not started, and the raw one (negative for a signal) when it was ended by us.
    """

    outcome: ToolOutcome
    exit_code: int | None
    signal: int | None
    timed_out: bool
    silent: bool
    retryable: bool
    output: str
    output_bytes: int
    seconds: float
    reason: str


def expand_command(
    command: Sequence[str], values: Mapping[str, str], files: Sequence[str]
) -> list[str]:
    """Put `values` and `files` into an argv list.

    `{files}` alone as an argument becomes one argument per file, and is joined by spaces within a
    longer one. Other braces stay as they are, and values are not expanded again. A file name that
    begins with "-" gets "./" in front, so that no program takes it for an option.

    Raises:
        CommandExpansionError: a NUL in a value, or a placeholder that `values` does not have.
    """
    names = [f"./{name}" if name.startswith("-") else name for name in files]
    for what, value in [*values.items(), *(("files", name) for name in names)]:
        if "\0" in value:
            raise CommandExpansionError(
                f"{{{what}}} holds a NUL character, which no command line can carry: {value[:80]!r}"
            )
    known = {**values, "files": " ".join(names)}

    def replaced(match: re.Match[str]) -> str:
        if match[1] not in known:
            raise CommandExpansionError(
                f"The command uses {match[0]}, which has no meaning here. "
                f"Known are: {', '.join(f'{{{name}}}' for name in sorted(known))}."
            )
        return known[match[1]]

    argv: list[str] = []
    for argument in command:
        if argument == "{files}":
            argv += names
        else:
            argv.append(_PLACEHOLDER.sub(replaced, argument))
    return argv


def run_tool(
    run: ToolRun,
    *,
    stop: threading.Event | None = None,
    limits: Limits = DEFAULT_LIMITS,
    on_start: Callable[[int], None] | None = None,
) -> ToolResult:
    """Execute the tool and judge its exit code. A tool that cannot be started is a result too.

    Raises:
        ProcessStuck: the tool did not end even after SIGKILL.
    """
    spec = run.spec
    env = tool_environment(run)
    timeout_sec = spec.timeout_sec if run.timeout_sec is None else run.timeout_sec

    def started(pid: int) -> None:
        crash_point("tool-started", "a tool's process runs")
        if on_start is not None:
            on_start(pid)

    try:
        done = run_process(
            expand_command(spec.command, _values(run), run.files),
            cwd=run.worktree,
            env=env,
            timeout_sec=timeout_sec,
            silence_sec=spec.silence_sec,
            stop=stop,
            limits=limits,
            redact=Redactor(declared_secrets(env)),
            on_start=started,
        )
    except CommandExpansionError as error:
        return _not_started(str(error), retryable=False)
    except ProcessNotStarted as error:
        return _not_started(str(error), retryable=error.retryable)
    crash_point("tool-ended", "a tool has changed files of its sandbox; nothing was read of them")
    outcome = _outcome(spec, done)
    return ToolResult(
        outcome=outcome,
        exit_code=done.exit_code,
        signal=done.signal,
        timed_out=done.timed_out,
        silent=done.silent,
        retryable=outcome is not ToolOutcome.PERMANENT,
        output=done.output,
        output_bytes=done.output_bytes,
        seconds=done.seconds,
        reason=_reason(outcome, done, timeout_sec, spec.silence_sec),
    )


def tool_environment(run: ToolRun) -> dict[str, str]:
    """The tool's variables: the allow-list, the tool's, the task's, and then ours."""
    ours = {
        "PATCHLINE_RUN": run.run_id,
        "PATCHLINE_TASK": run.task,
        "PATCHLINE_ATTEMPT": str(run.attempt),
        "PATCHLINE_PROMPT": limited(run.prompt),
        "PATCHLINE_FEEDBACK": limited(run.feedback),
        "PATCHLINE_FILES": _limited_lines(run.files),
    }
    return allowed_environment(allow=run.spec.env_allow, extra={**run.spec.env, **run.env, **ours})


def limited(text: str, limit: int = TEXT_LIMIT) -> str:
    """`text`, or its last `limit` bytes below a line that says how many are missing."""
    raw = text.encode(errors="replace")
    if len(raw) <= limit:
        return text
    kept = raw[-limit:].decode(errors="ignore")
    return f"[patchline: {len(raw) - limit} bytes cut here]\n{kept}"


def _limited_lines(lines: Sequence[str]) -> str:
    """As many of the last lines as fit, whole: half a file name would name another file."""
    kept: list[str] = []
    room = TEXT_LIMIT
    for line in reversed(lines):
        room -= len(line.encode(errors="replace")) + 1
        if room < 0:
            break
        kept.append(line)
    return "\n".join(reversed(kept))


def _values(run: ToolRun) -> dict[str, str]:
    return {
        "prompt": limited(run.prompt),
        "worktree": str(run.worktree),
        "feedback": limited(run.feedback),
        "task": run.task,
        "attempt": str(run.attempt),
        "plan_dir": str(run.plan_dir),
    }


def _not_started(reason: str, *, retryable: bool) -> ToolResult:
    return ToolResult(
        outcome=ToolOutcome.NOT_STARTED,
        exit_code=None,
        signal=None,
        timed_out=False,
        silent=False,
        retryable=retryable,
        output="",
        output_bytes=0,
        seconds=0.0,
        reason=reason,
    )


def _outcome(spec: ToolSpec, done: ProcessResult) -> ToolOutcome:
    if done.stopped:
        return ToolOutcome.STOPPED
    if done.timed_out:
        return ToolOutcome.TIMED_OUT
    if done.silent:
        return ToolOutcome.SILENT
    if done.exit_code in spec.expected_exit_codes:
        return ToolOutcome.SUCCEEDED
    if done.exit_code in spec.permanent_exit_codes:
        return ToolOutcome.PERMANENT
    return ToolOutcome.FAILED


def _reason(
    outcome: ToolOutcome,
    done: ProcessResult,
    timeout_sec: float | None,
    silence_sec: float | None,
) -> str:
    if outcome is ToolOutcome.STOPPED:
        reason = f"stopped on request after {done.seconds:.1f} s"
    elif outcome is ToolOutcome.TIMED_OUT:
        reason = f"timed out after {timeout_sec:g} s"
    elif outcome is ToolOutcome.SILENT:
        reason = f"printed nothing for {silence_sec:g} s"
    else:
        reason = exit_reason(done)
    if done.leftovers_alive:
        pids = ", ".join(str(pid) for pid in done.leftovers_alive)
        reason += f" (its background processes {pids} could not be ended: end them by hand)"
    return reason


def exit_reason(done: ProcessResult) -> str:
    """How a process ended by itself, in words: "exit code 2: <the last line it printed>"."""
    if done.signal is None:
        how = f"exit code {done.exit_code}"
    else:
        how = f"killed by signal {done.signal}{_signal_name(done.signal)}"
    last = last_line(done.output)
    return f"{how}: {last}" if last else how


def last_line(output: str) -> str:
    """The last line that says something, without terminal codes, at most 200 characters."""
    for line in reversed(output[-8192:].splitlines()):
        text = _TERMINAL_CODES.sub("", line).strip()
        if text:
            return text if len(text) <= _REASON_LENGTH else text[: _REASON_LENGTH - 3] + "..."
    return ""


def _signal_name(number: int) -> str:
    try:
        return f" ({signal.Signals(number).name})"
    except ValueError:  # a real-time signal has no name
        return ""
