"""`audit`: verify the history, hold on to it in checkpoints, prove single events of it."""

import json
import sys
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline_defs.cli.output import count, json_option, print_json
from state.errors import StoreUsageError
from state.home import Home

if TYPE_CHECKING:
    from state.proofs import Proof

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


@audit.command()
@_repositories
@json_option
def verify(repositories: tuple[Path, ...], as_json: bool) -> int:
    """Verify the whole history: that every row is what was written and none is missing.

    Every audit row is hashed anew and followed from the one before; every entity is compared with
    its last row, every checkpoint with its rows, and the anchors in the repositories with the
    checkpoints. Nothing is written. Exit code 0 when all is intact, 1 when not, 3 when there is no
    database.
    """
    from resources.audit import opened
    from resources.audit import verify as judge

    with opened(Home.find()) as store, _shown_progress() as progress:
        verdict = judge(store, [one.absolute() for one in repositories], progress)
    if as_json:
        print_json(verdict.as_document())
    elif verdict.intact:
        click.echo(f"The history is intact: {count(verdict.entries, 'audit row')}.")
    else:
        for one in verdict.problems:
            click.echo(f"{one.code}: {one.message}")
        click.echo(f"The history is not intact: {count(verdict.entries, 'audit row')} looked at.")
    return 0 if verdict.intact else 1


@audit.command()
@_repositories
@json_option
def checkpoint(repositories: tuple[Path, ...], as_json: bool) -> int:
    """Make a checkpoint of the rows since the last one, and anchor it in the repositories.

    An anchor is a commit under refs/patchline/audit. Pushed or cloned, it tells later whether the
    history was cut off or written anew. Exit code 1 when a repository could not be given its
    anchor, or its anchors are another database's.
    """
    from resources.audit import make_checkpoint, opened

    home = Home.find()
    with opened(home) as store:
        made, anchored = make_checkpoint(store, home, [one.absolute() for one in repositories])
    failed = any(one.error for one in anchored)
    if as_json:
        document = [
            {"repo": one.repository, "commits": [a.commit for a in one.made], "error": one.error}
            for one in anchored
        ]
        print_json({"checkpoint": made and made.as_document(), "anchors": document})
        return 1 if failed else 0
    if made is None:
        click.echo("No checkpoint: there are no audit rows since the last one.")
    else:
        rows = f"{made.first_transition_id} to {made.last_transition_id}"
        click.echo(f"Checkpoint {made.checkpoint_id} over audit rows {rows}: {made.hash}")
    for one in anchored:
        if one.error:
            click.echo(f"Not anchored in {one.repository}: {one.error}", err=True)
        else:
            last = f", the last one is {one.made[-1].commit}" if one.made else ""
            click.echo(f"{count(len(one.made), 'new anchor')} in {one.repository}{last}")
    if not anchored:
        click.echo("No repository is known to hold its anchor: name one with --repo.", err=True)
    return 1 if failed else 0


@audit.command()
@click.argument("event", required=False)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the proof to a file.",
)
@click.option(
    "--check",
    "checked",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Check the proof in a file instead; needs no database.",
)
@click.option(
    "--repo",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="With --check: the checkpoint must be anchored in this repository.",
)
@json_option
def prove(
    event: str | None,
    output: Path | None,
    checked: Path | None,
    repo: Path | None,
    as_json: bool,
) -> int:
    """Print a proof that EVENT (evt_...) is in the history, or check one.

    A proof is a JSON document that convinces without the database: the event's own text, and its
    way to the root of a checkpoint. It is worth as much as the place where that checkpoint was
    found, so check it against the anchors of a repository with --repo. Exit code 1 when the event
    cannot be proved or the proof does not hold, 2 when there is no such event or the file holds no
    proof.
    """
    if checked is not None:
        if event is not None or output is not None:
            raise click.UsageError("--check takes neither an event nor --output.")
        return _check(checked, repo, as_json)
    if event is None:
        raise click.UsageError("Name the event to prove, or a proof to check with --check.")
    if repo is not None:
        raise click.UsageError("--repo goes with --check.")
    document = _proof(event)
    if output is not None:
        try:
            output.write_text(json.dumps(document, indent=2) + "\n", encoding="ascii")
        except OSError as error:
            raise click.UsageError(f"{output} cannot be written: {error.strerror}.") from error
        click.echo(f"The proof is written: {output}", err=True)
    if output is None or as_json:
        print_json(document)
    return 0


def _proof(event: str) -> dict[str, Any]:
    from resources.audit import opened
    from state.checkpoints import HistoryDamagedError
    from state.proofs import prove as proved
    from state.raw_history import damage_told

    def refuse(message: str) -> None:
        raise HistoryDamagedError(message)

    found: list[dict[str, Any]] = []
    with opened(Home.find()) as store, damage_told(store, refuse):
        found.append(proved(store, event).as_document())
    return found[0]


def _check(path: Path, repo: Path | None, as_json: bool) -> int:
    from state.proofs import verify_proof

    proof = _read(path)
    holds = verify_proof(proof)
    anchored = _is_anchored(proof, repo) if holds and repo is not None else None
    if as_json:
        print_json(
            {
                "holds": holds,
                "anchored": anchored,
                "event": proof.event if holds else None,
                "checkpoint": proof.checkpoint.as_document(),
            }
        )
    else:
        click.echo(_said(proof, holds, anchored, repo))
    return 0 if holds and anchored is not False else 1


def _said(proof: "Proof", holds: bool, anchored: bool | None, repo: Path | None) -> str:
    if not holds:
        return "The proof does not hold: the event, its path or its checkpoint was changed."
    one = proof.checkpoint
    what = f"The event is under checkpoint {one.checkpoint_id} of {one.created_at} ({one.hash})"
    if anchored is None:
        return f"{what}. Compare it with the anchors of a repository: --repo DIR"
    return f"{what}, which {'is' if anchored else 'is NOT'} anchored in {repo}."


def _read(path: Path) -> "Proof":
    from state.proofs import Proof

    try:
        return Proof.from_document(json.loads(path.read_bytes()))
    except (StoreUsageError, ValueError, RecursionError) as error:
        why = str(error) if isinstance(error, StoreUsageError) else "It is no JSON document."
        raise click.UsageError(f"{path} holds no proof. {why}") from error
    except OSError as error:
        raise click.UsageError(f"{path} cannot be read: {error.strerror}.") from error


def _is_anchored(proof: "Proof", repo: Path) -> bool:
    from resources.audit_anchor import is_anchored
    from resources.repository import Repository

    with tempfile.TemporaryDirectory(prefix="patchline-audit-") as scratch:
        return is_anchored(proof.checkpoint, Repository.open(repo, Path(scratch)))


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
