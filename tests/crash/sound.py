"""What must hold of home, database and repository, however often a command was killed.

Everything is looked at without the store's own mending: the event files as they lie there, the
rows in plain SQL, git by git.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from resources.audit.verdict import opened, verify
from state.event_files import rotated_files
from state.machines import MACHINES
from state.store import StateStore
from tests.crash.arena import Arena
from tests.pipeline.lab import processes_of
from tests.state.event_series import series
from tests.state.soundness import assert_sound

ON_A_BRANCH = ("committed", "rolled_back")
ENDED = {
    "workstream": set[str](),
    "task": set[str](),
    "worker": set[str](),
    "uet_worker": set[str](),
    "patch_ledger": {"committed"},
    "test_gate": {"BLOCKED"},
    "run": set[str](),
}
"""Kinds that come to an end with their run, and states that are no end to the machine but to it."""
_ID = re.compile(r"\b([a-z]+)_[0-9A-HJKMNP-TV-Z]{26}\b")
_NOT_OURS = re.compile(r"repo/\.git/objects/|home/(dagster|logs|locks)/|home/transitions-")
"""Objects vary, and git tells by itself; so do Dagster's records; lock files hold nothing."""


def assert_whole(arena: Arena) -> None:
    """Everything that holds after any command has come to its end."""
    assert_sound(arena.home.database_url)
    with opened(arena.home) as store:
        assert_events_complete(arena, store)
        verdict = verify(store)
        assert verdict.intact, verdict.problems
        assert_ended(store)
        assert_ledger_is_git(arena, store)
        for (run_id,) in arena.rows("SELECT run_id FROM runs"):
            assert not processes_of(run_id), "a process is left"
    assert_nothing_left(arena)


def assert_events_complete(arena: Arena, store: StateStore) -> None:
    """The event files, one after another, are the audit table: none lacks, none is there twice."""
    current = arena.home.events
    events = [event["event_id"] for event in series(current)] if current.exists() else []
    rows = arena.rows("SELECT event_id FROM state_transitions ORDER BY transition_id")
    assert events == [event_id for (event_id,) in rows]
    for full in rotated_files(arena.home.events):
        assert full.last > 0


def assert_ended(store: StateStore) -> None:
    """No row is half-way."""
    for kind, also in ENDED.items():
        ends = MACHINES[kind].terminal | also
        left = [row for row in store.find(kind) if row.state not in ends]
        assert not left, f"{kind} left {left[0].state}: {left[0]}"


def assert_ledger_is_git(arena: Arena, store: StateStore) -> None:
    """Each landed entry is one commit with the tree that its gates passed on, and the reverse."""
    assert not arena.git("fsck", "--strict", "--no-dangling")
    assert "prunable" not in arena.git("worktree", "list", "--porcelain")
    named = ledger_commits(arena)
    entries = {entry.ledger_id: entry for entry in store.find("patch_ledger")}
    landed = {key: one for key, one in entries.items() if one.state in ON_A_BRANCH}
    assert set(named) == set(landed), "ledger and git tell of different patches"
    assert not [key for key, one in entries.items() if key not in landed and one.commit_sha]
    for key, found in named.items():
        assert found == [landed[key].commit_sha], f"{key} landed more than once: {found}"
        assert_gated(arena, store, landed[key])
    kept = {row.patch_id for row in entries.values()}
    assert all(patch_id in kept for (patch_id,) in arena.rows("SELECT patch_id FROM patches"))


def ledger_commits(arena: Arena) -> dict[str, list[str]]:
    """The commits on branches by the ledger entry that each names."""
    form = "--format=%H %(trailers:key=Patchline-Ledger,valueonly,separator=%x2C)"
    found: dict[str, list[str]] = {}
    for line in arena.git("log", "--branches", form).splitlines():
        commit, _, entry = line.partition(" ")
        if entry:
            found.setdefault(entry, []).append(commit)
    return found


def assert_gated(arena: Arena, store: StateStore, entry: Any) -> None:
    """The commit's tree is the one its gates passed on, each of them."""
    tree = arena.git("rev-parse", f"{entry.commit_sha}^{{tree}}")
    gates = store.find("test_gate", ledger_id=entry.ledger_id)
    assert tree == entry.candidate_tree
    assert gates
    assert {gate.tree for gate in gates} == {tree}
    assert all(gate.state == "PASSED" for gate in gates if gate.blocking)


def assert_nothing_left(arena: Arena) -> None:
    """No sandbox, lease or fence, and no change in the checkout."""
    worktrees = arena.home.worktrees
    assert not worktrees.exists() or not list(worktrees.iterdir()), "a sandbox is left"
    changed = arena.git("status", "--porcelain")
    assert not changed, f"the checkout is not at its branch: {changed}"
    held = arena.rows("SELECT branch, holder FROM landing_leases WHERE holder IS NOT NULL")
    assert not held, f"a lease is held: {held}"
    fences = arena.git("for-each-ref", "--format=%(refname)", "refs/patchline/landing")
    assert not fences, f"a fence is left: {fences}"


# What an undisturbed command comes to


def outcome(arena: Arena) -> dict[str, Any]:
    """What a command that was killed must have come to as well: files, states, patches."""
    return {
        "tree": arena.git("rev-parse", "main^{tree}"),
        "branches": sorted(_general(arena.git("branch", "--format=%(refname)").splitlines())),
        "files": sorted(_general(_files(arena.work))),
        **{name: _counted(arena.rows(query)) for name, query in OUTCOME.items()},
    }


OUTCOME = {
    "runs": "SELECT plan, state FROM runs",
    "workstreams": "SELECT slug, state FROM workstreams",
    "tasks": "SELECT slug, state FROM tasks",
    "landed": (
        "SELECT l.state, p.origin, p.sha256 FROM patch_ledger_entries l JOIN patches p"
        " USING (patch_id) WHERE l.state IN ('committed', 'rolled_back')"
    ),
    "compensations": "SELECT outcome FROM compensation_plans",
    "actions": "SELECT action, status FROM compensation_actions",
    "checkpoints": "SELECT checkpoint_id FROM audit_checkpoints",
    "schema": "SELECT version_num FROM patchline_version",
}


def _counted(rows: list[tuple[Any, ...]]) -> list[tuple[tuple[Any, ...], int]]:
    return sorted(Counter(rows).items(), key=str)


def _files(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.is_file() and not _NOT_OURS.match(name):
            yield name


def _general(names: Iterator[str] | list[str]) -> set[str]:
    """Names without the ids in them."""
    return {_ID.sub(r"\1_*", name) for name in names}
