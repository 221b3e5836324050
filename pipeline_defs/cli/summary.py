"""The closing summary of a run: what landed where, what did not and why, what to do next."""

import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from pipeline_defs.cli.output import (
    count,
    duration,
    own_command,
    seconds_between,
    shell_path,
    shorten,
)
from pipeline_defs.cli.run_lock import is_executed
from pipeline_defs.cli.taken_back import taken_back
from state.home import Home
from state.machines import MACHINES
from state.store import StateStore

RUN_ENDED = MACHINES["run"].terminal
SHOWN = 4
"""How many of one kind are named; the others are counted."""


@dataclass(frozen=True)
class Facts:
    """A run's document with the rows that the summary speaks of."""

    document: dict[str, Any]
    run: Any
    streams: dict[str, Any]
    tasks: dict[str, Any]
    names: dict[str, str]
    entries: Sequence[Any]
    patches: dict[str, Any]

    @classmethod
    def read(cls, store: StateStore, document: dict[str, Any]) -> "Facts":
        """Read what belongs to a run's document."""
        run_id = document["run_id"]
        streams = {row.ws_id: row for row in store.find("workstream", run_id=run_id)}
        tasks = {row.task_id: row for row in store.find("task", workstream_id=list(streams))}
        entries = store.find("patch_ledger", run_id=run_id)
        patch_ids = [entry.patch_id for entry in entries if entry.patch_id]
        return cls(
            document=document,
            run=store.get("run", run_id),
            streams=streams,
            tasks=tasks,
            names={task["task_id"]: task["id"] for task in document["tasks"]},
            entries=entries,
            patches={row.patch_id: row for row in store.find("patch", patch_id=patch_ids)},
        )

    def committed(self, *, landed: bool) -> list[Any]:
        """Committed ledger entries that did, or did not, reach the target; no rollbacks."""
        return [
            entry
            for entry in self.entries
            if entry.state == "committed"
            and (origin := self._origin(entry)) != "rollback"
            and (origin == "replacement" or self._completed(entry)) == landed
        ]

    def _origin(self, entry: Any) -> str | None:
        patch = self.patches.get(entry.patch_id)
        return patch and patch.origin

    def _completed(self, entry: Any) -> bool:
        return self.streams[entry.workstream_id].state == "completed"


def print_summary(store: StateStore, home: Home, document: dict[str, Any]) -> None:
    """Print the summary of a run on stdout."""
    facts = Facts.read(store, document)
    for line in [
        _headline(store, home, facts),
        *_landed(facts),
        *_kept(facts),
        *taken_back(store, home, facts.run.run_id),
        *_quarantined(facts),
        *_not_done(facts),
    ]:
        click.echo(_wrapped(line))
    click.echo("Next:")
    steps = _next_steps(home, facts)
    width = max(len(what) for what, _ in steps)
    for what, command in steps:
        click.echo(f"  {what:<{width}}  {command}")


def _headline(store: StateStore, home: Home, facts: Facts) -> str:
    run, document = facts.run, facts.document
    name = f"Run {run.run_id} of plan {run.plan}"
    if run.state in RUN_ENDED:
        took = ""
        if run.started_at:
            took = f" after {duration(seconds_between(run.started_at, run.completed_at))}"
        reason = f": {run.reason}" if run.reason and run.state != "succeeded" else "."
        return f"{name} {run.state}{took}{reason}"
    done = sum(task["state"] == "completed" for task in document["tasks"])
    how = "is running" if is_executed(store, home, run.run_id) else "has stopped before its end"
    return f"{name} {how}: {done} of {len(document['tasks'])} tasks done."


def _landed(facts: Facts) -> Iterator[str]:
    run, entries = facts.run, facts.committed(landed=True)
    done = [row.slug for row in facts.streams.values() if row.state == "completed"]
    if not entries:
        untouched = "No patch landed" if done else "Nothing landed"
        yield f"{untouched}: {run.target} in {run.repo} is as it was."
        return
    yield (
        f"Landed on {run.target} in {run.repo}: {count(len(entries), 'commit')}, "
        f"{_size(facts, entries)} ({_some(done)}); {run.target} is at {run.head_commit[:12]}."
    )


def _kept(facts: Facts) -> Iterator[str]:
    """Work of workstreams that failed: committed on their branches, and not on the target."""
    entries = facts.committed(landed=False)
    branches = dict.fromkeys(facts.streams[entry.workstream_id].branch for entry in entries)
    if entries:
        yield (
            f"Committed and not landed: {count(len(entries), 'commit')}, {_size(facts, entries)},"
            f" on {_some(list(branches))}."
        )


def _size(facts: Facts, entries: Sequence[Any]) -> str:
    patches = [facts.patches[entry.patch_id] for entry in entries]
    files = {effect["path"] for patch in patches for effect in patch.effects}
    plus, minus = (sum(getattr(p, name) for p in patches) for name in ("insertions", "deletions"))
    return f"{count(len(files), 'file')}, +{plus} -{minus} lines"


def _quarantined(facts: Facts) -> Iterator[str]:
    entries = [entry for entry in facts.entries if entry.state == "quarantined"]
    if entries:
        yield f"Quarantined, and in no branch: {count(len(entries), 'patch')}."
    for entry in entries[:SHOWN]:
        task = facts.tasks.get(entry.task_id)
        later = ""
        if task is not None and task.state == "completed":
            later = " (a later attempt succeeded)"
        yield f"  {facts.names.get(entry.task_id, '?')}: {shorten(entry.quarantine_reason)}{later}"
    yield from _rest(entries)


def _not_done(facts: Facts) -> Iterator[str]:
    """What failed and what was cancelled, workstreams before tasks."""
    refused = {entry.task_id for entry in facts.entries if entry.state == "quarantined"}
    for state in ("failed", "cancelled", "skipped"):
        rows = [(row.slug, row) for row in facts.streams.values() if row.state == state]
        ended = {row.ws_id for _, row in rows}
        rows += [
            (name, facts.tasks[task_id])
            for task_id, name in facts.names.items()
            if facts.tasks[task_id].state == state
            # Tasks that ended with their workstream need no line of their own.
            and not (state != "failed" and facts.tasks[task_id].workstream_id in ended)
        ]
        if rows:
            yield f"{state.capitalize()}:"
        for name, row in rows[:SHOWN]:
            minor = "" if row.is_critical else " (not critical)"
            yield f"  {name}{minor}: {_why(row, refused)}"
        yield from _rest(rows)


def _why(row: Any, refused: set[str]) -> str:
    if getattr(row, "task_id", None) in refused:
        return f"no attempt is left ({row.attempts} made), see its patches above"
    return shorten(row.reason or "no reason was recorded")


def _next_steps(home: Home, facts: Facts) -> list[tuple[str, str]]:
    """What one may want to do now, and the commands for it."""
    run = facts.run
    steps: list[tuple[str, str]] = []
    if run.state not in RUN_ENDED:
        steps.append(("go on", own_command(home, "resume", run.run_id)))
    if facts.committed(landed=True):
        log = f"log --oneline {run.base_commit[:12]}..{run.target}"
        steps.append(("the commits", f"git -C {shell_path(Path(run.repo))} {log}"))
    for row in [row for row in facts.streams.values() if row.state == "failed"][:2]:
        archive = home.root / "archive" / f"{row.ws_id}.json"
        steps.append((f"all about {row.slug}", f"less {shell_path(archive)}"))
    if any(entry.state == "quarantined" for entry in facts.entries):
        words = ("list", "gates", "--run", run.run_id, "--state", "FAILED", "--json")
        steps.append(("what the gates said", own_command(home, *words)))
    steps.append(("every task", own_command(home, "status", run.run_id)))
    steps.append(("the Dagster UI", own_command(home, "dev")))
    return steps


def _wrapped(line: str) -> str:
    """A line for a terminal, broken between words."""
    if not sys.stdout.isatty():
        return line
    columns = shutil.get_terminal_size().columns
    indent = "    " if line.startswith("  ") else "  "
    return textwrap.fill(
        line, columns, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN - 1} more" if len(names) > SHOWN + 1 else ""
    return ", ".join(names[: SHOWN + 1]) + more


def _rest(rows: Sequence[Any]) -> Iterator[str]:
    if len(rows) > SHOWN:
        yield f"  and {len(rows) - SHOWN} more"
