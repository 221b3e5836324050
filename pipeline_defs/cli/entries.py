"""Naming a patch, and oneself, on the command line."""

import getpass
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from state.errors import EntityNotFoundError

if TYPE_CHECKING:
    from state.store import StateStore

Command = TypeVar("Command", bound=Callable[..., Any])
NAMED = 5
"""How many of several candidates are listed."""


def operator_option(command: Command) -> Command:
    """Add `--operator` to a command that a person answers for."""
    text = "Who does this, for the audit history [default: you, as this machine calls you]."
    add = click.option("--operator", metavar="NAME", callback=_operator, help=text)
    return add(command)


def named_entry(store: "StateStore", named: str) -> Any:
    """The ledger entry that somebody means by its id, the beginning of it, or its commit.

    Raises:
        EntityNotFoundError: there is none.
        click.UsageError: there are several.
    """
    from resources.patches.entry_names import entries_named

    found = entries_named(store, named)
    if not found:
        raise EntityNotFoundError("patch_ledger", named)
    if len(found) > 1:
        listed = ", ".join(one.ledger_id for one in found[:NAMED])
        more = ", ..." if len(found) > NAMED else ""
        raise click.UsageError(f"{named!r} may mean {len(found)} patches: {listed}{more}.")
    return found[0]


def _operator(_ctx: click.Context, _option: click.Parameter, given: str | None) -> str:
    if given is not None and not given.strip():
        raise click.BadParameter("the name is empty.")
    try:
        return given or getpass.getuser()
    except (KeyError, OSError) as error:
        raise click.BadParameter("this machine has no name for you: name yourself.") from error
