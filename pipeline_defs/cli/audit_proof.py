"""`audit prove`: make a proof of an event, or check one."""

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline_defs.cli.audit_input import named_repositories, whole_hashes
from pipeline_defs.cli.output import json_option, print_json
from state.errors import StoreUsageError
from state.home import Home

if TYPE_CHECKING:
    from state.proofs import Proof


@click.command()
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
@click.option(
    "--root",
    metavar="HASH",
    callback=whole_hashes,
    help="With --check: the checkpoint must have this hash, or this Merkle root.",
)
@json_option
def prove(
    event: str | None,
    output: Path | None,
    checked: Path | None,
    repo: Path | None,
    root: str | None,
    as_json: bool,
) -> int:
    """Print a proof that EVENT (evt_...) is in the history, or check one.

    A proof is a JSON document that convinces without the database: the event's own text, and its
    way to the root of a checkpoint. Anybody can make such a document for a checkpoint of their own,
    so something else must vouch for that: the anchors in a repository (--repo), or its hash as it
    was kept elsewhere (--root). Exit code 1 when the event cannot be proved, the proof does not
    hold or nothing vouches for it, 2 when there is no such event or the file holds no proof.
    """
    if checked is not None:
        if event is not None or output is not None:
            raise click.UsageError("--check takes neither an event nor --output.")
        return _check(checked, repo, root, as_json)
    if event is None:
        raise click.UsageError("Name the event to prove, or a proof to check with --check.")
    if repo is not None or root is not None:
        raise click.UsageError("--repo and --root go with --check.")
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
    from resources.audit.verdict import opened
    from state.checkpoints import refuse_damaged
    from state.proofs import prove as proved
    from state.raw_history import damage_told

    found: list[dict[str, Any]] = []
    with opened(Home.find()) as store, damage_told(store, refuse_damaged):
        found.append(proved(store, event).as_document())
    return found[0]


def _check(path: Path, repo: Path | None, root: str | None, as_json: bool) -> int:
    from state.proofs import verify_proof

    proof = _read(path)
    folder = named_repositories([repo])[0] if repo is not None else None
    one, holds = proof.checkpoint, verify_proof(proof)
    as_kept = root is None or root in (one.hash, one.root)
    anchored = folder is not None and holds and _is_anchored(proof, folder)
    vouched = holds and as_kept and (anchored if folder else root is not None)
    if as_json:
        print_json(
            {
                "holds": holds,
                "vouched": vouched,
                "anchored": anchored,
                "event": proof.event if holds else None,
                "checkpoint": one.as_document(),
            }
        )
    elif not holds:
        click.echo("The proof does not hold: the event, its path or its checkpoint was changed.")
    else:
        click.echo(_said(proof, as_kept, anchored, repo, root))
    return 0 if vouched else 1


def _said(
    proof: "Proof", as_kept: bool, anchored: bool, repo: Path | None, root: str | None
) -> str:
    """What a proof that holds is worth."""
    one = proof.checkpoint
    what = f"The event is under checkpoint {one.checkpoint_id} of {one.created_at} ({one.hash})"
    if repo is None and root is None:
        return (
            f"{what}, but nothing outside of this file vouches for that checkpoint: anybody could "
            "have made it. Check it with --repo DIR or --root HASH."
        )
    parts: list[str] = []
    if root is not None:
        parts.append(f"which {'is' if as_kept else 'is NOT'} that of --root")
    if repo is not None:
        parts.append(f"which {'is' if anchored else 'is NOT'} anchored in {repo}")
    return f"{what}, {' and '.join(parts)}."


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
    from resources.audit.anchor import is_anchored
    from resources.git.repository import Repository

    with tempfile.TemporaryDirectory(prefix="patchline-audit-") as scratch:
        return is_anchored(proof.checkpoint, Repository.open(repo, Path(scratch)))
