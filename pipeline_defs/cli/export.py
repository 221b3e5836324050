"""`export`: events out of the table, for other programs."""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import click

from pipeline_defs.cli.output import count, json_option, print_json
from pipeline_defs.cli.stores import required_store
from state.errors import StoreUsageError
from state.event_export import Selection, export_events, select_events
from state.home import Home
from state.store import StateStore


@click.group()
def export() -> None:
    """Write what the state holds for other programs."""


@export.command()
@click.option(
    "--since",
    metavar="TIME|EVENT|ID",
    help="Events from this time on (ISO-8601 with a zone), or after this event id or transition "
    "id.",
)
@click.option("--entity", metavar="TYPE/ID", help="Only of this entity, such as task/task_01JH.")
@click.option("--run", "run", metavar="RUN", help="Only of this run and everything in it.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl"]),
    default="jsonl",
    show_default=True,
    help="One JSON object a line.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the lines to this file, in one step, instead of to stdout.",
)
@json_option
def events(
    since: str | None,
    entity: str | None,
    run: str | None,
    form: str,
    output: Path | None,
    as_json: bool,
) -> int:
    """Print the events, oldest first, in their canonical shape.

    They are read from the database, not from the event file. With --json stdout is an array; with
    -o as well, the lines go to the file and stdout says how many. Exit code 1 when a row cannot be
    read, 2 when a run, entity or event does not exist, 3 when there is no database.
    """
    with required_store(Home.find()) as store:
        try:
            selection = select_events(store, since, entity, run)
        except StoreUsageError as error:
            raise click.UsageError(str(error)) from error
        if output is not None and str(output) != "-":
            number = _write(store, selection, output)
            if as_json:
                print_json({"output": str(output), "events": number})
            else:
                click.echo(f"{count(number, 'event')} in {output}.", err=True)
        elif as_json:
            _print_array(export_events(store, selection))
        else:
            _write_lines(sys.stdout, export_events(store, selection))
    return 0


def _line(event: dict[str, Any]) -> str:
    return json.dumps(event, separators=(",", ":"))


def _print_array(found: Iterator[dict[str, Any]]) -> None:
    """One JSON document, an event a line, without holding them all in memory.

    It is printed once it is whole: when an event cannot be read, the error is the one document.
    """
    with TemporaryFile("w+", encoding="ascii") as document:
        document.write("[")
        for place, event in enumerate(found):
            document.write(f"{',' if place else ''}\n{_line(event)}")
        document.write("\n]\n")
        document.seek(0)
        shutil.copyfileobj(document, sys.stdout)


def _write(store: StateStore, selection: Selection, output: Path) -> int:
    """Write the lines to a file: all of them, or the file stays as it was."""
    try:
        with _in_one_step(output) as file:
            return _write_lines(file, export_events(store, selection))
    except OSError as error:
        raise click.BadParameter(
            f"the file {output} cannot be written: {error.strerror or error}.",
            param_hint="'-o'",
        ) from error


def _write_lines(file: IO[str], found: Iterator[dict[str, Any]]) -> int:
    number = 0
    for number, event in enumerate(found, 1):  # noqa: B007 - the last number is the result
        file.write(_line(event) + "\n")
    return number


@contextmanager
def _in_one_step(output: Path) -> Iterator[IO[str]]:
    """A file that takes its place when it is whole; a device or a pipe is written as it comes."""
    if output.exists() and not output.is_file():
        with output.open("w", encoding="ascii") as file:
            yield file
        return
    place = output.resolve()
    fresh = place.with_name(f".{place.name}.{os.getpid()}.new")
    try:
        with fresh.open("x", encoding="ascii") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(place)
    finally:
        fresh.unlink(missing_ok=True)
