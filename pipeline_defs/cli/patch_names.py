"""Naming a patch: by its ledger entry, or by any name that its repository has for its commit."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from state.errors import EntityNotFoundError

if TYPE_CHECKING:
    from state.store import StateStore

NAMED = 5
"""How many of several candidates are listed."""
WAYS = "a ledger entry (led_...), the beginning of one, or a commit of a patch"


def named_patch(store: "StateStore", named: str) -> Any:
    """The ledger entry that somebody means by its id, the beginning of it, or its commit.

    A commit may go by any name that git knows: `HEAD`, a branch, a tag, `main~2`.

    Raises:
        EntityNotFoundError: nothing is called so.
        click.UsageError: the name is empty, means several patches, or a commit of no patch.
    """
    from resources.patches.entry_names import entries_named

    if not named.strip():
        raise click.UsageError(f"The name of the patch is empty. Give {WAYS}.")
    if entries_named(store, named):
        return _entry_named(store, named)
    commits = dict(_commits_named(store, named))
    ours = {commit for commit in commits.values() if entries_named(store, commit)}
    if len(ours) > 1:
        several = ", ".join(str(folder) for folder, commit in commits.items() if commit in ours)
        raise click.UsageError(
            f"{named!r} means another patch in each of {several}. Go into one of them, "
            "or give the commit's own name."
        )
    if commits and not ours:
        folder, commit = next(iter(commits.items()))
        raise click.UsageError(
            f"{named!r} is {_what_else(store, commit)} in {folder}. Give {WAYS}."
        )
    return _entry_named(store, ours.pop() if ours else named)


def _entry_named(store: "StateStore", named: str) -> Any:
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


def _commits_named(store: "StateStore", named: str) -> Iterator[tuple[Path, str]]:
    """What a revision names: in the checkout that we are in, or else in the runs' repositories.

    `HEAD` is where somebody stands: in a checkout it is nobody else's.
    """
    from resources.audit.findings import known_repositories
    from resources.git.repository import checkout_around
    from resources.proof.of_commit import reading_repository
    from state.errors import PatchlineError

    here = checkout_around(Path.cwd())
    if here is not None:
        with reading_repository(here) as repository:
            commit = repository.resolve(named, work_tree=here)
        if commit is not None:
            yield here, commit
        if commit is not None or named.startswith(("HEAD", "@")):
            return
    for folder in sorted(known_repositories(store)):
        try:
            with reading_repository(folder) as repository:
                commit = repository.resolve(named)
        except (PatchlineError, OSError):  # moved away, deleted or damaged since
            continue
        if commit is not None:
            yield folder, commit


def _what_else(store: "StateStore", commit: str) -> str:
    """What a commit is that no patch has landed with."""
    merges = store.find("workstream", merge_commit=commit)
    if not merges:
        return f"commit {commit[:12]}, which is no patch of ours,"
    landed = store.find("patch_ledger", workstream_id=merges[0].ws_id, state="committed")
    patches = ", ".join(entry.ledger_id for entry in landed) or "none that is still there"
    return f"commit {commit[:12]}, the merge of {merges[0].slug} with these patches: {patches},"
