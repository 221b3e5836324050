"""`audit`: verify the history, hold on to it in checkpoints, prove single events of it."""

import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline_defs.cli.audit_input import named_repositories, whole_hashes
from pipeline_defs.cli.audit_proof import prove
from pipeline_defs.cli.output import count, json_option, print_json
from state.home import Home

if TYPE_CHECKING:
    from resources.audit.verdict import Verdict

_repositories = click.option(
    "--repo",
    "repositories",
    multiple=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="This repository, instead of all that runs have worked on; may be repeated.",
)


@click.group()
def audit() -> None:
    """Verify the history of every state, hold on to it, prove events of it."""


audit.add_command(prove)


@audit.command()
@_repositories
@click.option(
    "--no-anchors",
    is_flag=True,
    help="Look at no repository: for those who never anchor.",
)
@click.option(
    "--expect",
    "expected",
    multiple=True,
    metavar="HASH",
    callback=whole_hashes,
    help="A checkpoint's hash, or the commit that anchors it, kept elsewhere: the history must go "
    "on from it; may be repeated.",
)
@json_option
def verify(
    repositories: tuple[Path, ...], no_anchors: bool, expected: Sequence[str], as_json: bool
) -> int:
    """Verify the whole history: that every row is what was written and none is missing.

    Every audit row is hashed anew and followed from the one before; every entity is compared with
    its rows, every checkpoint with those under it, and the anchors in the repositories with the
    checkpoints. Nothing is written. Exit code 0 when all is intact, 1 when not, 2 when a folder
    that was named is no repository, 3 when there is no database.

    Whoever can write both the database and every repository that is looked at can make another
    history that is intact. Keep the hash of a checkpoint elsewhere, and name it with --expect.
    """
    from resources.audit.verdict import opened
    from resources.audit.verdict import verify as judge

    if no_anchors and repositories:
        raise click.UsageError("--no-anchors looks at no repository, so it takes no --repo.")
    named = named_repositories(repositories)
    with opened(Home.find()) as store, _shown_progress() as progress:
        verdict = judge(store, named, progress, anchors=not no_anchors, expected=expected)
    if as_json:
        print_json(verdict.as_document())
    else:
        _tell(verdict)
    return 0 if verdict.intact else 1


def _tell(verdict: "Verdict") -> None:
    for one in verdict.problems:
        click.echo(f"{one.code}: {one.message}")
    rows = count(verdict.entries, "audit row")
    if verdict.uncovered:
        rows += f", {verdict.uncovered} of them under no checkpoint"
    click.echo(f"The history is {'intact' if verdict.intact else 'not intact'}: {rows}.")
    for one in verdict.anchored:
        if one.checkpoints is not None:
            click.echo(
                f"{one.checkpoints} of {count(verdict.checkpoints, 'checkpoint')} anchored in "
                f"{one.repository}"
            )
        elif verdict.intact:
            click.echo(f"Not looked at: {one.note}")
    if not verdict.anchored:
        click.echo(
            "No repository was looked at: nothing outside of the database vouches for the history."
        )


@audit.command()
@_repositories
@json_option
def checkpoint(repositories: tuple[Path, ...], as_json: bool) -> int:
    """Make a checkpoint of the rows since the last one, and anchor it in the repositories.

    An anchor is a commit under refs/patchline/audit. Pushed or cloned, it tells later whether the
    history was cut off or written anew. Nobody waits: what a transaction that still runs may come
    before is left to the next checkpoint. Exit code 1 when a row was changed, when a repository
    could not be given its anchor, or its anchors are another database's; 2 when a folder that was
    named is no repository.
    """
    from resources.audit.verdict import make_checkpoint, opened
    from state.checkpoints import uncovered

    home, named = Home.find(), named_repositories(repositories)
    with opened(home) as store:
        made, anchored = make_checkpoint(store, home, named)
        left = uncovered(store)
    failed = any(one.error for one in anchored)
    if as_json:
        document = [
            {"repo": one.repository, "commits": [a.commit for a in one.made], "error": one.error}
            for one in anchored
        ]
        sealed = made and made.as_document()
        print_json({"checkpoint": sealed, "anchors": document, "uncovered": left})
        return 1 if failed else 0
    if made is None and not left:
        click.echo("No checkpoint: there are no audit rows since the last one.")
    elif made is None:
        click.echo("No checkpoint: a transaction still runs that the newer rows wait for.")
    else:
        rows = f"{made.first_transition_id} to {made.last_transition_id}"
        click.echo(f"Checkpoint {made.checkpoint_id} over audit rows {rows}: {made.hash}")
    if left:
        click.echo(f"{count(left, 'newer audit row')} left to the next checkpoint.")
    for one in anchored:
        if one.error:
            click.echo(f"Not anchored in {one.repository}: {one.error}", err=True)
        else:
            last = f", the last one is {one.made[-1].commit}" if one.made else ""
            click.echo(f"{count(len(one.made), 'new anchor')} in {one.repository}{last}")
    if not anchored:
        click.echo("No repository is known to hold its anchor: name one with --repo.", err=True)
    return 1 if failed else 0


@contextmanager
def _shown_progress() -> Generator[Callable[[int, int], None] | None]:
    """A bar on stderr while rows are looked at, where somebody may be watching."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = ("Audit rows", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("verify", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
