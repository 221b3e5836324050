"""`verify`: the proof of one commit."""

from collections.abc import Iterator
from contextlib import contextmanager
from json import JSONDecodeError
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline_defs.cli.output import json_option, print_json
from pipeline_defs.cli.terminal_text import visible
from state.errors import HistoryDamagedError
from state.home import Home

if TYPE_CHECKING:
    from resources.proof.of_commit import CommitProof
    from state.store import StateStore


@click.command()
@click.argument("commit")
@click.option(
    "--repo",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Where the commit is, instead of the repositories that the state knows.",
)
@json_option
def verify(commit: str, repo: Path | None, as_json: bool) -> int:
    """Prove COMMIT: any revision of a commit that patchline has landed.

    Its trailers, its patch, its tree, the gates that passed on that tree, its place in the audit
    history, its ledger entry and the commit object itself are computed anew and compared. Nothing
    is written. Exit code 0 when every part holds, 1 when one does not, 2 when there is no such
    revision, 3 when there is no repository or no database.
    """
    from pipeline_defs.past_runs import spec_of_run
    from resources.proof.of_commit import prove_commit, reading_repository

    home = Home.find()
    with _intact(home) as store:
        folder = repo.absolute() if repo else _folder_with(store, commit)
        with reading_repository(folder) as repository:
            name = repository.resolve(commit)
            if name is None:
                raise click.UsageError(f"There is no commit {commit!r} in {folder}.")
            proof = prove_commit(store, repository, name, lambda run: spec_of_run(store, home, run))
    if as_json:
        print_json(proof.as_document())
    else:
        _tell(proof)
    return 0 if proof.verified else 1


@contextmanager
def _intact(home: Home) -> "Iterator[StateStore]":
    """The store as it stands; what nobody of ours has written there is an error in words."""
    from resources.audit.verdict import opened
    from state.checkpoints import refuse_damaged
    from state.raw_history import damage_told

    with opened(home) as store:
        try:
            with damage_told(store, refuse_damaged):
                yield store
        except (JSONDecodeError, UnicodeDecodeError) as error:
            raise HistoryDamagedError(
                f"The database {store.database.name} has something else in the place of JSON: "
                f"{error}."
            ) from error


def _folder_with(store: "StateStore", commit: str) -> Path:
    """The repository, among those that runs have worked on, that has the commit.

    The one around the current folder comes first; a name that several know is ambiguous.

    Raises:
        click.UsageError: none has it, or several.
    """
    from resources.audit.findings import known_repositories
    from resources.proof.of_commit import reading_repository
    from state.errors import PreflightError

    found: list[Path] = []
    here = Path.cwd()
    for folder in sorted(known_repositories(store), key=lambda one: not here.is_relative_to(one)):
        try:
            with reading_repository(folder) as repository:
                has = repository.resolve(commit) is not None
        except (PreflightError, OSError):  # moved away or deleted since
            continue
        if has and here.is_relative_to(folder):
            return folder
        found += [folder] if has else []
    if len(found) > 1:
        several = ", ".join(str(folder) for folder in found)
        raise click.UsageError(
            f"Several repositories know {commit!r}: {several}. Name one: --repo."
        )
    if not found:
        raise click.UsageError(
            f"No repository that a run has worked on knows a commit {commit!r}. "
            "Name its repository with --repo."
        )
    return found[0]


def _tell(proof: "CommitProof") -> None:
    width = max(len(one.part) for one in proof.parts)
    for one in proof.parts:
        mark = click.style("ok   ", fg="green") if one.ok else click.style("FAILS", fg="red")
        click.echo(f"{mark}  {one.part:<{width}}  {visible(one.message)}")
    short = proof.commit[:12]
    if proof.verified:
        click.echo(f"Commit {short} is proven.")
    else:
        bad = ", ".join(one.part for one in proof.parts if not one.ok)
        click.echo(f"Commit {short} is NOT proven: {bad}.")
