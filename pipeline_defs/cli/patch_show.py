"""`patch show`: everything there is to know of one patch, on one page.

Diffs, paths and the output of gates are what a tool made them: they are shown with every character
spelled out that a terminal would act upon.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline_defs.cli.output import (
    count,
    duration,
    json_option,
    own_command,
    print_json,
    print_table,
)
from pipeline_defs.cli.patch_names import named_patch
from pipeline_defs.cli.stores import required_store
from pipeline_defs.cli.terminal_text import decoded, visible
from state.home import Home

if TYPE_CHECKING:
    from state.audit import TransitionRecord
    from state.store import StateStore

DIFF_LINES = 200
TAIL_LINES = 20
"""How much of a long diff, and of a failed gate's output, people are shown."""
STYLES: Sequence[tuple[tuple[str, ...], dict[str, Any]]] = (
    (("+++", "---", "diff ", "index ", "rename ", "new file", "deleted file"), {"bold": True}),
    (("@@",), {"fg": "cyan"}),
    (("+",), {"fg": "green"}),
    (("-",), {"fg": "red"}),
)
WHERE_NEXT = {
    "committed": ("verify {commit}", "rollback {ledger} --reason WHY"),
    "rolled_back": ("verify {commit}",),
}
"""What to do next with a patch that has landed, without the program's name."""


@dataclass(frozen=True)
class Page:
    """What is shown of a patch.

    Attributes:
        entry: its ledger row.
        patch: its artifact's row; None for changes that were refused before they were read.
        task: `workstream/task`.
        gates: the executions that judged it.
        history: the audit rows of the entry.
        branches: the branches that its commit is on.
        next: commands for it, without the program's name.
    """

    entry: Any
    patch: Any | None
    task: str | None
    gates: Sequence[Any]
    history: "Sequence[TransitionRecord]"
    branches: Sequence[str]
    next: Sequence[str]

    @property
    def diff(self) -> str:
        """The patch as text."""
        return decoded(self.patch.diff) if self.patch is not None else ""


@click.command()
@click.argument("ledger")
@click.option("--full", is_flag=True, help=f"The whole diff, not only {DIFF_LINES} lines of it.")
@json_option
def show(ledger: str, full: bool, as_json: bool) -> int:
    """Show the patch LEDGER: its diff, effects, gates and history, and where its commit is.

    LEDGER is a ledger entry's id (led_...), the beginning of one, or any name of the commit that it
    landed with (HEAD, say).
    """
    home = Home.find()
    with required_store(home) as store:
        page = _read(store, named_patch(store, ledger))
    if as_json:
        print_json(_document(page))
    else:
        _print(home, page, full)
    return 0


def _read(store: "StateStore", entry: Any) -> Page:
    from resources.patches.entry_names import label_of
    from resources.quarantine.entries import gates_of, quarantined
    from state.queries import history

    following = tuple(
        one.format(commit=entry.commit_sha, ledger=entry.ledger_id)
        for one in WHERE_NEXT.get(entry.state, ())
    )
    if entry.state == "quarantined":
        following = quarantined(store, entry).next_actions[1:]
    return Page(
        entry=entry,
        patch=store.get("patch", entry.patch_id) if entry.patch_id else None,
        task=label_of(store, entry),
        gates=gates_of(store, entry),
        history=history(store, "patch_ledger", entry.ledger_id),
        branches=_branches(store, entry),
        next=following,
    )


def _branches(store: "StateStore", entry: Any) -> list[str]:
    """The branches that an entry's commit is on; none when its repository is gone."""
    from resources.proof.of_commit import reading_repository
    from state.errors import PatchlineError

    if entry.commit_sha is None or entry.run_id is None:
        return []
    folder = Path(store.get("run", entry.run_id).repo)
    names = ("for-each-ref", "--format=%(refname:lstrip=2)", f"--contains={entry.commit_sha}")
    try:
        with reading_repository(folder) as repository:
            return repository.on_refs(*names, "refs/heads").split()
    except (PatchlineError, OSError):
        return []


# For programs


def _document(page: Page) -> dict[str, Any]:
    entry, patch = page.entry, page.patch
    return {
        "ledger_id": entry.ledger_id,
        "state": entry.state,
        "task": page.task,
        "task_id": entry.task_id,
        "workstream_id": entry.workstream_id,
        "run_id": entry.run_id,
        "patch_id": entry.patch_id,
        "origin": patch and patch.origin,
        "sha256": patch and patch.sha256,
        "base_commit": patch and patch.base_commit,
        "files": patch and patch.files,
        "insertions": patch and patch.insertions,
        "deletions": patch and patch.deletions,
        "reason": _reason(entry),
        "reasons": entry.reasons or [],
        "commit_sha": entry.commit_sha,
        "branches": list(page.branches),
        "replaces": entry.replaces,
        "reverted_by": entry.reverted_by,
        "effects": patch.effects if patch else [],
        "gates": [_gate(row) for row in page.gates],
        "history": [record.as_event() for record in page.history],
        "next": list(page.next),
        "diff": page.diff,
    }


def _gate(row: Any) -> dict[str, Any]:
    names = ("gate_id", "name", "role", "state", "blocking", "exit_code", "timed_out", "seconds")
    return {name: getattr(row, name) for name in (*names, "tree", "command", "output")}


def _reason(entry: Any) -> str | None:
    return (
        entry.rollback_reason
        or entry.drop_reason
        or entry.quarantine_reason
        or entry.failure_reason
    )


# For people


def _print(home: Home, page: Page, full: bool) -> None:
    for line in _facts(page):
        click.echo(visible(line))
    effects = page.patch.effects if page.patch else []
    if effects:
        _heading("Effects")
        print_table(("change", "path", "mode"), [_effect(one) for one in effects])
    if page.gates:
        _heading("Gates")
        rows = [(row.name, row.state, row.exit_code, _took(row)) for row in page.gates]
        print_table(("gate", "state", "exit", "took"), rows)
    for row in page.gates:
        if row.state == "FAILED" and row.output:
            _tail(row)
    _heading("History")
    print_table(("when", "from", "to", "by", "why"), [_event(one) for one in page.history])
    if page.diff:
        _heading("Diff")
        _print_diff(home, page, full)
    if page.next:
        _heading("Next")
        for command in page.next:
            click.echo(f"  {own_command(home, command)}")


def _heading(text: str) -> None:
    click.echo(f"\n{click.style(text, bold=True)}")


def _facts(page: Page) -> Iterator[str]:
    entry, patch = page.entry, page.patch
    whose = f" of {page.task}" if page.task else ""
    by = f", made by {patch.origin}" if patch and patch.origin else ""
    yield f"Patch {entry.ledger_id}{whose}{by}: {entry.state}."
    reason = _reason(entry)
    if reason:
        yield f"Reason: {reason}"
    for one in (entry.reasons or [])[1:]:
        yield f"        {one.get('code')}: {one.get('message')}"
    if entry.commit_sha:
        on = ", ".join(page.branches) or "no branch"
        yield f"Commit {entry.commit_sha} is on {on}."
    if entry.replaces:
        yield f"It replaces {entry.replaces}."
    if entry.reverted_by:
        yield f"It was taken back by {entry.reverted_by}."
    if patch is None:
        yield "There is no diff: the changes were refused before they were read."


def _effect(effect: dict[str, Any]) -> tuple[str, str, str]:
    old, new = effect["old_mode"], effect["new_mode"]
    path = visible(effect["path"])
    if effect.get("old_path"):
        path = f"{visible(effect['old_path'])} -> {path}"
    modes = "" if old == new or "000000" in (old, new) else f"{old} -> {new}"
    return str(effect["change"]), path, modes


def _took(row: Any) -> str:
    return "" if row.seconds is None else duration(row.seconds)


def _event(record: "TransitionRecord") -> tuple[str, str, str, str, str]:
    to = record.to_state if record.to_state != record.from_state else record.trigger
    by, why = record.operator or "", record.reason or ""
    return record.transitioned_at, record.from_state, to, visible(by), visible(why)


def _tail(row: Any) -> None:
    lines = row.output.rstrip("\n").split("\n")
    cut = f", the last {TAIL_LINES} lines" if len(lines) > TAIL_LINES else ""
    click.echo(f"\nOutput of {visible(row.name)}{cut}:")
    for line in lines[-TAIL_LINES:]:
        click.echo(f"  {visible(line)}")


def _print_diff(home: Home, page: Page, full: bool) -> None:
    lines = page.diff.removesuffix("\n").split("\n")
    shown = lines if full else lines[:DIFF_LINES]
    for line in shown:
        found = (style for starts, style in STYLES if line.startswith(starts))
        style = next(found, dict[str, Any]())
        click.echo(click.style(visible(line), **style))
    if len(shown) < len(lines):
        whole = own_command(home, "patch", "show", page.entry.ledger_id, "--full")
        click.echo(f"... {count(len(lines) - len(shown), 'more line')}: {whole}")
