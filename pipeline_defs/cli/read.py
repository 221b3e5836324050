"""`status` and `list`: what the state says. They read, and never make a state."""

from typing import Any

import click

from pipeline_defs.cli.output import duration, json_option, print_json, print_table, shorten
from pipeline_defs.cli.quarantine_view import print_quarantine, with_quarantine
from pipeline_defs.cli.stores import existing_store
from pipeline_defs.cli.summary import print_summary
from state.errors import EntityNotFoundError
from state.home import Home
from state.machines import MACHINES
from state.queries import LISTS, list_entities, run_summary
from state.store import StateStore

COLUMNS = {
    "runs": ("run_id", "plan", "state", "target", "created_at", "reason"),
    "workstreams": ("slug", "state", "ws_id", "reason"),
    "tasks": ("state", "attempts", "task_id", "reason"),
    "workers": ("worker_id", "state", "pid", "host", "heartbeat_at"),
    "patches": ("ledger_id", "state", "commit_sha", "quarantine_reason"),
    "gates": ("name", "state", "exit_code", "seconds", "tree", "gate_id"),
    "breakers": ("tool_id", "state", "failure_count", "opened_at"),
    "events": ("timestamp", "entity_type", "from_state", "to_state", "entity_id", "reason"),
}
PAGE = 50
OTHER_SPELLING = {"canceled": "cancelled", "cancelled": "canceled"}
ANY_STATE = frozenset(state for machine in MACHINES.values() for state in machine.states)


@click.command()
@click.argument("run", required=False)
@json_option
def status(run: str | None, as_json: bool) -> int:
    """Say how RUN stands, or the newest run.

    Exit code 0 whatever its state is; 1 when nothing has run yet; 2 when there is no such run.
    """

    home = Home.find()
    with existing_store(home) as store:
        if store is None:
            raise click.ClickException(_nothing_yet(home))
        try:
            document = run_summary(store, run)
        except EntityNotFoundError:
            if run is not None:
                raise
            raise click.ClickException(_nothing_yet(home)) from None
        if as_json:
            print_json(document)
            return 0
        print_table(
            ("task", "state", "attempts", "reason"),
            [
                (task["id"], task["state"], task["attempts"], shorten(task["reason"]))
                for task in document["tasks"]
            ],
        )
        click.echo()
        print_summary(store, home, document)
    return 0


def _nothing_yet(home: Home) -> str:
    return f"Nothing has run yet in {home.root}. Start with: patchline run PLAN"


@click.command("list")
@click.argument("kind", type=click.Choice(list(LISTS)))
@click.option("--state", "states", multiple=True, help="Only these states; may be repeated.")
@click.option("--run", "run", help="Only what belongs to this run.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    help=f"The newest so many [default: {PAGE}; with --json all].",
)
@json_option
def list_(
    kind: str, states: tuple[str, ...], run: str | None, limit: int | None, as_json: bool
) -> int:
    """List what the state holds, the newest first.

    With --json: an array of rows by column; of events in their canonical shape.
    """

    filters: dict[str, Any] = {}
    if states:
        filters["to_state" if kind == "events" else "state"] = _checked(kind, states)
    if run == "":
        raise click.UsageError("The run has an empty name. Give its id, such as run_01JH.")
    if run and kind == "breakers":
        raise click.UsageError("Breakers are shared by all runs: leave --run out.")
    with existing_store(Home.find()) as store:
        rows: list[dict[str, Any]] = []
        if store is not None:
            if run:
                filters["run_id"] = store.get("run", run).run_id
            rows = _rows(store, kind, filters, limit or (None if as_json else PAGE + 1))
        elif run:
            raise EntityNotFoundError("run", run)
        names = _names(store, kind, rows) if store is not None and not as_json else []
    if as_json:
        print_json(rows)
        return 0
    shown = rows if limit else rows[:PAGE]
    if not shown:
        click.echo(f"There are no {kind}{' like that' if filters else ' yet'}.")
        return 0
    _print(kind, shown, names)
    if len(rows) > len(shown):
        click.echo(f"These are the newest {PAGE}; more with --limit.", err=True)
    return 0


def _rows(
    store: StateStore, kind: str, filters: dict[str, Any], limit: int | None
) -> list[dict[str, Any]]:
    rows = list_entities(store, kind, filters, limit)
    return with_quarantine(store, rows) if kind == "patches" else rows


def _print(kind: str, rows: list[dict[str, Any]], names: list[str]) -> None:
    if all(row.get("state") == "quarantined" for row in rows):
        print_quarantine(rows)
    else:
        print_table(*_table(kind, rows, names))


def _table(
    kind: str, rows: list[dict[str, Any]], names: list[str]
) -> tuple[list[str], list[list[Any]]]:
    columns = COLUMNS[kind]
    cells = [[_cell(column, row[column]) for column in columns] for row in rows]
    if not names:
        return ["id" if name == "slug" else name for name in columns], cells
    whose = "task" if kind == "tasks" else "of"
    return [whose, *columns], [[name, *line] for name, line in zip(names, cells, strict=False)]


def _checked(kind: str, states: tuple[str, ...]) -> list[str]:
    """The states to look for, in the spelling of the machine (decisions R4)."""
    entity = LISTS[kind]
    known = ANY_STATE if not entity else frozenset(MACHINES[entity].states)
    found = [state if state in known else OTHER_SPELLING.get(state, state) for state in states]
    for state in found:
        if state not in known:
            options = ", ".join(MACHINES[entity].states if entity else sorted(known))
            raise click.UsageError(f"No {kind} have the state {state!r}. There are: {options}.")
    return found


def _names(store: Any, kind: str, rows: list[dict[str, Any]]) -> list[str]:
    """For each row whose it is: `core/imports` of a task, `core` of a workstream."""
    if kind not in ("tasks", "patches", "gates"):
        return []
    tasks = store.find("task", task_id=sorted({row["task_id"] for row in rows if row["task_id"]}))
    streams = store.find("workstream", ws_id=list({row["workstream_id"] for row in rows}))
    slugs = {row.ws_id: row.slug or row.ws_id for row in streams}
    names = {row.task_id: f"{slugs[row.workstream_id]}/{row.slug or row.task_id}" for row in tasks}
    return [names.get(row["task_id"]) or slugs.get(row["workstream_id"], "") for row in rows]


def _cell(column: str, value: Any) -> Any:
    if value is None:
        return ""
    if column in ("commit_sha", "tree"):
        return value[:12]
    if column == "seconds":
        return duration(value)
    if column == "reason" or column.endswith("_reason"):
        return shorten(value)
    return value
