"""The `patchline` command: its commands, and how every error reaches people and programs.

Command modules are imported when their command is used, and heavy libraries inside the functions
that need them: `patchline validate` must not wait for Dagster. Source: design sections 5 and 6.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import click

from pipeline_defs.cli.lazy import LazyGroup
from pipeline_defs.cli.output import print_json
from pipeline_defs.cli.terminal_text import visible
from state.errors import (
    EntityNotFoundError,
    PatchlineError,
    PlanError,
    PlanProblem,
    PreflightError,
    StoreUnavailableError,
    StoreUsageError,
)

FAILED, BAD_INPUT, UNFIT, INTERRUPTED = 1, 2, 3, 130
EXIT_CODES: dict[type[PatchlineError], int] = {
    PlanError: BAD_INPUT,
    EntityNotFoundError: BAD_INPUT,
    StoreUsageError: UNFIT,  # what a user can get wrong about the store is PATCHLINE_DATABASE_URL
    PreflightError: UNFIT,
    StoreUnavailableError: UNFIT,
}

COMMANDS = {
    "validate": ("plans:validate", "Check a plan file and say everything that is wrong with it."),
    "run": ("run:run", "Run a plan to its end in this process, with live progress."),
    "resume": ("run:resume", "Go on with a run that was interrupted or whose process died."),
    "status": ("read:status", "Say how the newest run stands, or a named one."),
    "list": ("read:list_", "List runs, tasks, patches, gates, events and more."),
    "patch": ("patch:patch", "Check, show, replace or drop a patch."),
    "rollback": ("rollback:rollback", "Take back a patch that has landed, and what it led to."),
    "verify": ("verify:verify", "Prove a commit: its patch, tree, gates and place in the audit."),
    "plan": ("plans:plan", "Register plans for the Dagster UI; list those registered."),
    "dev": ("dev:dev", "Open the Dagster UI and its daemon on this home."),
    "audit": ("audit:audit", "Verify the history, make checkpoints of it, prove events of it."),
    "export": ("export:export", "Write the events for other programs."),
    "db": ("database:db", "Bring the database up to date; check it against what it should be."),
    "machines": ("machines:machines", "Print the state machines."),
}
"""Every command: where it is, and its line in `patchline --help`, in the order of a day's work."""


@click.group(
    cls=LazyGroup,
    commands_at=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 good; 1 the run or check failed; 2 bad input or usage; 3 the environment "
    "is not fit; 130 interrupted. The state lies in $PATCHLINE_HOME, by default ./.state.",
)
@click.version_option(version("patchline"), prog_name="patchline")
def cli() -> None:
    """Turn plans of agent and codemod work into tested, committed patches."""
    if os.environ.get("NO_COLOR"):  # https://no-color.org
        click.get_current_context().color = False


def main(args: Sequence[str] | None = None) -> int:
    """Run a command line and give its exit code. Never raises for what a user can mend."""
    words = list(sys.argv[1:] if args is None else args)
    as_json = "--json" in (words[: words.index("--")] if "--" in words else words)
    for stream in (sys.stdout, sys.stderr):
        # File names may hold bytes that no encoding has; printing one must not end the program.
        getattr(stream, "reconfigure", lambda **_: None)(errors="backslashreplace")
    try:
        code = cli.main(args=words, prog_name="patchline", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (`| head`) has seen enough. Python would complain once more when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (KeyboardInterrupt, click.Abort):
        return _report([{"message": "Interrupted."}], as_json, INTERRUPTED)
    except Exception as error:
        return _report_exception(error, as_json)
    return code if isinstance(code, int) else 0


def _report_exception(error: Exception, as_json: bool) -> int:
    match error:
        case click.UsageError():
            ctx = error.ctx
            hint = f"See: {ctx.command_path} --help" if ctx else "See: patchline --help"
            return _report(
                [{"message": error.format_message(), "hint": hint}], as_json, error.exit_code
            )
        case click.ClickException():
            return _report([{"message": error.format_message()}], as_json, error.exit_code)
        case PlanError():
            return _report([one.as_dict() for one in error.problems], as_json, BAD_INPUT)
        case PatchlineError():
            code = next(
                (code for kind, code in EXIT_CODES.items() if isinstance(error, kind)), FAILED
            )
            problem = {
                "message": getattr(error, "message", str(error)),
                "hint": getattr(error, "hint", None),
            }
            return _report([problem], as_json, code)
        case _:
            traceback.print_exception(error)
            message = f"This is a bug in patchline: {type(error).__name__}: {error}"
            hint = "The state is safe; `patchline status` says how it stands. Please report this."
            return _report([{"message": message, "hint": hint}], as_json, FAILED)


def _report(problems: list[dict[str, Any]], as_json: bool, code: int) -> int:
    """Print errors, one line each on stderr, or as the one JSON document on stdout."""
    whole = [PlanProblem(**problem) for problem in problems]
    if as_json:
        print_json({"errors": [one.as_dict() for one in whole]})
    else:
        for one in whole:
            click.echo(visible(f"Error: {_sentences(one)}"), err=True)
    return code


def _sentences(problem: PlanProblem) -> str:
    """A problem and how to mend it, as sentences on one line, whoever worded them."""
    hint = problem.hint and problem.hint[0].upper() + problem.hint[1:]
    parts = [part if part[-1] in ".!?:" else f"{part}." for part in (problem.message, hint) if part]
    return str(replace(problem, message=" ".join(parts), hint=None))
