"""`patch check`: the verdict on a patch file, for people and for programs; writes nothing anywhere.

Source: design sections 5 and 6.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline_defs.cli.output import count, json_option, print_json, print_table

if TYPE_CHECKING:
    from resources.patches.check import Checked
    from resources.specs import PolicySpec

STANDARD_INPUT = "-"


def _glob(_ctx: click.Context, _param: click.Parameter, given: Sequence[str]) -> tuple[str, ...]:
    from resources.globs import GlobError, parse

    for text in given:
        try:
            parse(text)
        except GlobError as error:
            raise click.BadParameter(f"`{text[:60]}`: {error.problem}; {error.hint}") from error
    return tuple(given)


def _globs(name: str, text: str) -> Any:
    return click.option(name, multiple=True, metavar="GLOB", callback=_glob, help=text)


@click.command()
@click.argument("file")
@click.option(
    "--repo",
    required=True,
    type=click.Path(path_type=Path),
    help="The repository that the patch is for; nothing in it changes.",
)
@click.option("--base", required=True, metavar="REV", help="The revision that the patch is for.")
@_globs("--scope", "Files that it may change, delete and create. By default all; repeatable.")
@_globs("--forbid", "Files that it may not touch; repeatable.")
@_globs("--create", "Files that it may only create; repeatable. Alone: nothing else.")
@click.option(
    "--plan",
    type=click.Path(path_type=Path),
    help="A plan file whose `policy` holds; else the default limits.",
)
@json_option
def check(
    file: str,
    repo: Path,
    base: str,
    scope: tuple[str, ...],
    forbid: tuple[str, ...],
    create: tuple[str, ...],
    plan: Path | None,
    as_json: bool,
) -> int:
    """Say what the patch FILE (- is standard input) would do to REV, and whether it may.

    Exit code 0 when it is accepted, 1 when it is rejected.
    """
    from resources.git.repository import Repository
    from resources.patch_policy import Scope
    from resources.patches.check import PatchSourceError, check_patch, throw_away_folder

    policy = _policy(plan, forbid)
    where = Scope(scope or (() if create else ("**",)), create)
    with throw_away_folder(repo.absolute()) as home:
        repository = Repository.open(repo, home)
        commit = repository.resolve(base)
        if commit is None:
            hint = f"See: git -C {repo} log --all --oneline"
            raise click.UsageError(f"{repo} has no revision {base}. {hint}")
        try:
            source = _standard_input(policy) if file == STANDARD_INPUT else Path(file)
            checked = check_patch(repository, commit, source, where, policy)
        except PatchSourceError as error:
            raise click.UsageError(f"{error.message}; {error.hint}") from error
    if as_json:
        print_json(checked.to_json())
    else:
        _print(file, checked)
    return 0 if checked.accepted else 1


def _policy(plan: Path | None, forbid: tuple[str, ...]) -> "PolicySpec":
    from resources.specs import PolicySpec

    policy = PolicySpec()
    if plan is not None:
        from pipeline_defs.plan.loader import load_plan

        policy = load_plan(plan).plan.policy
    return policy.model_copy(update={"forbid": (*policy.forbid, *forbid)})


def _standard_input(policy: "PolicySpec") -> bytes:
    """No more than one byte beyond the limit, by which it is found to be too large."""
    from resources.patches.check import read_up_to

    try:
        return read_up_to(0, policy.max_bytes + 1)
    except OSError as error:  # closed, or a folder
        problem = (error.strerror or str(error)).lower()
        raise click.UsageError(f"standard input cannot be read: {problem}") from error


# -- for people --------------------------------------------------------------------------------


def _print(file: str, checked: "Checked") -> None:
    colour = "green" if checked.accepted else "red"
    words = "accepted" if checked.accepted else "rejected"
    why = f" for {count(len(checked.reasons), 'reason')}" if checked.reasons else ""
    click.echo(f"{file}: {click.style(words, fg=colour, bold=True)}{why}.")
    for reason in checked.reasons:
        click.echo(f"  {click.style(reason.code, fg='yellow')}: {reason.message}")
    if checked.change is None:
        return
    size = checked.change.size
    lines = f"{count(size.insertions, 'line')} added, {size.deletions} removed"
    click.echo(f"It changes {count(len(checked.effects), 'file')}: {lines}.")
    print_table(("change", "mode", "path"), [_row(effect) for effect in checked.effects])


def _row(effect: Any) -> tuple[str, str, str]:
    from resources.effects import ABSENT, printable

    modes = dict.fromkeys(m for m in (effect.old_mode, effect.new_mode) if m != ABSENT)
    path = printable(effect.path)
    if effect.old_path is not None:
        path = f"{printable(effect.old_path)} -> {path}"
    return effect.change, " -> ".join(modes), path
