"""Who answers for a command."""

import getpass
from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def operator_option(command: Command) -> Command:
    """Add `--operator` to a command that a person answers for."""
    text = "Who does this, for the audit history [default: you, as this machine calls you]."
    add = click.option("--operator", metavar="NAME", callback=_operator, help=text)
    return add(command)


def _operator(_ctx: click.Context, _option: click.Parameter, given: str | None) -> str:
    if given is not None and not given.strip():
        raise click.BadParameter("the name is empty.")
    try:
        return given or getpass.getuser()
    except (KeyError, OSError) as error:
        raise click.BadParameter("this machine has no name for you: name yourself.") from error
