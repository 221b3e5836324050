"""Quarantined patches in `list patches`: why, whose, since when, and what can be done."""

from typing import TYPE_CHECKING, Any

import click

from pipeline_defs.cli.output import own_command, print_table, shorten
from pipeline_defs.cli.terminal_text import visible
from state.home import Home

if TYPE_CHECKING:
    from state.store import StateStore

HEADINGS = ("task", "by", "ledger_id", "since", "gate", "why")


def with_quarantine(store: "StateStore", rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of `list patches`, the quarantined ones with `task`, `tool`, `gate` and `next`."""
    from resources.quarantine.entries import quarantined

    def told(row: dict[str, Any]) -> dict[str, Any]:
        if row["state"] != "quarantined":
            return row
        one = quarantined(store, store.get("patch_ledger", row["ledger_id"]))
        more = {"task": one.task, "tool": one.tool, "gate": one.gate}
        return {**row, **more, "next": list(one.next_actions)}

    return [told(row) for row in rows]


def print_quarantine(rows: list[dict[str, Any]]) -> None:
    """Print quarantined patches for people, with what to do about them."""
    print_table(HEADINGS, [_cells(row) for row in rows])
    home = Home.find()
    steps: dict[str, None] = {}
    for row in rows:
        words = row["next"] if len(rows) == 1 else _general(row)
        steps |= dict.fromkeys(words)
    click.echo("\nNext:")
    for words in steps:
        click.echo(f"  {own_command(home, words)}")


def _cells(row: dict[str, Any]) -> tuple[Any, ...]:
    why = visible(shorten(row["quarantine_reason"]))
    since = (row["quarantined_at"] or "")[:19]
    return row["task"], row["tool"], row["ledger_id"], since, row["gate"], why


def _general(row: dict[str, Any]) -> list[str]:
    """The commands for any of several patches."""
    return [words.replace(row["ledger_id"], "LEDGER") for words in row["next"]]
