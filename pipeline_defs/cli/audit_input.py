"""What people give to `audit` commands: repositories and hashes."""

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from state.errors import PreflightError


def named_repositories(repositories: Sequence[Path]) -> list[Path]:
    """The repositories that were named; absolute.

    Raises:
        click.UsageError: one of them is none.
    """
    from resources.git.repository import Repository

    folders = [one.absolute() for one in repositories]
    with tempfile.TemporaryDirectory(prefix="patchline-audit-") as scratch:
        for folder in folders:
            try:
                Repository.open(folder, Path(scratch))
            except (PreflightError, OSError) as error:
                raise click.UsageError(f"--repo: {error}") from error
    return folders


def whole_hashes(_ctx: click.Context, _option: click.Parameter, given: Any) -> Any:
    """Hashes as people give them: whole, in either case."""
    several = isinstance(given, tuple)
    values: list[str] = list(given) if several else [given] if given else []
    for one in values:
        if not re.fullmatch("[0-9a-fA-F]{40}|[0-9a-fA-F]{64}", one):
            raise click.BadParameter(f"{one!r} is no whole hash: 40 or 64 hexadecimal digits.")
    lower = [one.lower() for one in values]
    return lower if several else lower[0] if lower else None
