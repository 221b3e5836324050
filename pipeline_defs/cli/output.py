"""Printing: one JSON document for programs, tables and sentences for people."""

import io
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from state.home import Home

Command = TypeVar("Command", bound=Callable[..., Any])

STYLES = {
    "succeeded": "green",
    "completed": "green",
    "committed": "green",
    "PASSED": "green",
    "CLOSED": "green",
    "running": "cyan",
    "executing": "cyan",
    "validating": "cyan",
    "RUNNING": "cyan",
    "busy": "cyan",
    "retrying": "yellow",
    "quarantined": "yellow",
    "cancelled": "yellow",
    "canceled": "yellow",
    "dropped": "yellow",
    "rolled_back": "yellow",
    "unresponsive": "yellow",
    "HALF_OPEN": "yellow",
    "failed": "red",
    "FAILED": "red",
    "OPEN": "red",
}
"""Colours of states on a terminal; the word itself always stands there too."""

_WRAPPERS = ("UV_RUN_RECURSION_DEPTH", "MAKELEVEL")


def json_option(command: Command) -> Command:
    """Add `--json` to a command that prints data."""
    text = "Print exactly one JSON document on stdout; everything else goes to stderr."
    return click.option("--json", "as_json", is_flag=True, help=text)(command)


def print_json(document: Any) -> None:
    """Print a document. ASCII only, so that it is the same in every locale."""
    click.echo(json.dumps(document, indent=2, default=_shown))


def _shown(value: object) -> str:
    """Bytes that somebody put into the database where text belongs: SQLite keeps any value."""
    if isinstance(value, bytes):
        return repr(value)
    raise TypeError(f"{type(value).__name__} is no JSON")


def print_table(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows in columns: fitted to a terminal, or whole lines when read by a program."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for position, heading in enumerate(headings):
        last = position == len(headings) - 1
        table.add_column(heading, overflow="fold", no_wrap=not last, ratio=1 if last else None)
    for row in rows:
        table.add_row(*(styled(value) for value in row))
    if sys.stdout.isatty():
        Console(soft_wrap=False).print(table)
        return
    page = io.StringIO()
    Console(file=page, width=10_000, force_terminal=False).print(table)
    for line in page.getvalue().splitlines():
        click.echo(line.rstrip())


def styled(value: Any) -> Any:
    """A cell: states in their colour, nothing as an empty cell."""
    from rich.text import Text

    text = "" if value is None else str(value)
    return Text(text, style=STYLES.get(text, ""))


def shorten(text: str | None, length: int = 160) -> str:
    """A reason on one line, cut at `length` characters."""
    line = " ".join((text or "").split())
    return line if len(line) <= length else line[: length - 3] + "..."


def duration(seconds: float) -> str:
    """`0.4 s`, `28 s`, `3 min 07 s`, `2 h 05 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours} h {minutes_left:02} min" if hours else f"{minutes} min {rest:02} s"


def seconds_between(earlier: str, later: str) -> float:
    """Seconds between two stored times."""
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


def count(number: int, what: str) -> str:
    """`1 commit`, `3 commits`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}{_plural_ending(what)}"


def _plural_ending(what: str) -> str:
    return "es" if what.endswith("ch") else "s"


def own_command(home: Home, *words: str) -> str:
    """A patchline command that works when it is pasted into the caller's shell.

    Started through `make` or `uv run`, neither PATH nor PATCHLINE_HOME need be what the caller's
    shell has, so the program is then named by its path, and the home where it is not the default.
    """
    wrapped = any(name in os.environ for name in _WRAPPERS)
    program = "patchline"
    if wrapped or shutil.which("patchline") is None:
        program = shell_path(Path(sys.argv[0]).absolute())
    if wrapped and home.root != Path(".state").absolute():
        program = f"PATCHLINE_HOME={shell_path(home.root)} {program}"
    return " ".join((program, *words))


def shell_path(path: Path) -> str:
    """A path as one would type it: relative when it lies below the current folder, quoted."""
    import shlex

    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))
