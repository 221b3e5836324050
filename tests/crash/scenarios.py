"""What is killed: commands, each with what is there before.

A point is killed at in the first of them that passes it: what people do most comes first, then what
is cheap.
"""

import json
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from pipeline_defs.dagster_home import dagster_instance
from state.event_files import MAX_BYTES_VARIABLE, rotated_files
from state.home import Home
from state.migrations.runner import configuration
from tests.crash import plans
from tests.crash.arena import Arena
from tests.forks import fork
from tests.resources.gitbox import make_repository

SMALL_EVENT_FILES: Mapping[str, str] = {MAX_BYTES_VARIABLE: "4000"}
PLAN = "plan.yaml"
KILLED = -signal.SIGKILL


@dataclass(frozen=True)
class Scenario:
    """A command that is killed and asked again.

    Attributes:
        told: the command in words, for the matrix.
        base: what is there before, one of `BASES`.
        words: the command's; may still change something first.
        environment: variables of the command.
        exact: one thread does it all, so that what a crash leaves is always the same.
    """

    told: str
    base: str
    words: Callable[[Arena], Sequence[str]]
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    exact: bool = True

    def begin(self, arena: Arena) -> Sequence[str]:
        """Put everything in its place; says the command."""
        arena.environment = dict(self.environment)
        arena.begin(self.base, BASES[self.base])
        return self.words(arena)


# What is there before


def fresh(arena: Arena) -> None:
    """A repository whose target is checked out, and a home in which nothing has run."""
    make_repository(arena.repo, plans.FILES)
    arena.home.create()
    made = fork(open_dagster, arena.work, {"PATCHLINE_HOME": str(arena.home.root)})
    made.join()
    assert made.exitcode == 0


def open_dagster() -> None:
    """Dagster's own databases, whose making is Dagster's business."""
    with dagster_instance(Home.find()) as instance:
        instance.get_runs_count()
        instance.all_asset_keys()
        instance.get_daemon_statuses()


def past(arena: Arena) -> None:
    """A run that has ended."""
    fresh(arena)
    write_plan(arena, plans.PAST)
    done = arena.run(["run", PLAN, "--json"])
    assert done.code == 0, done.err


def killed(arena: Arena) -> None:
    """A run whose process died when it was about to move a branch."""
    fresh(arena)
    assert arena.run(run_plan(plans.SMALL)(arena), armed="landing-intended").code == KILLED


def old(arena: Arena) -> None:
    """A database of the schema before the present one, with nothing in it."""
    from alembic import command

    from state.migrations.targets import target_of
    from state.upgrade import REVISIONS

    make_repository(arena.repo, plans.FILES)
    arena.home.create()
    target = target_of(arena.home.database_url)
    with target.turn(), target.transaction() as connection:
        command.upgrade(configuration(connection), REVISIONS[-2])


def write_plan(arena: Arena, document: Mapping[str, Any]) -> None:
    (arena.work / PLAN).write_text(yaml.safe_dump(dict(document), sort_keys=False))


BASES: Mapping[str, Callable[[Arena], None]] = {
    "fresh": fresh,
    "past": past,
    "killed": killed,
    "old": old,
}


# The commands


def run_plan(document: Mapping[str, Any]) -> Callable[[Arena], Sequence[str]]:
    def words(arena: Arena) -> Sequence[str]:
        write_plan(arena, document)
        return ["run", PLAN, "--json"]

    return words


def resume(arena: Arena) -> Sequence[str]:
    return ["resume", arena.rows("SELECT run_id FROM runs")[0][0], "--json"]


def run_whole(arena: Arena) -> Sequence[str]:
    return run_plan(plans.whole(str(arena.work)))(arena)


def repair_events(arena: Arena) -> Sequence[str]:
    """Several files, of which a full one lacks a line and the current one is another database's."""
    repair = ["db", "repair-events", "--json"]
    arena.home.events.unlink()
    assert arena.run(repair).code == 0
    full = rotated_files(arena.home.events)[0].path
    first, *others = full.read_text().splitlines(keepends=True)
    full.write_text("".join([first, *others[1:]]))
    arena.home.events.write_text(json.dumps({"event_id": "evt_of_another"}) + "\n")
    return repair


def entry(arena: Arena, task: str, state: str) -> str:
    """The newest ledger entry of a task in a state."""
    query = (
        "SELECT l.ledger_id FROM patch_ledger_entries l JOIN tasks t USING (task_id)"
        " WHERE t.slug = ? AND l.state = ? ORDER BY l.created_at DESC"
    )
    return arena.rows(query, task, state)[0][0]


def roll_back(arena: Arena) -> Sequence[str]:
    return ["rollback", entry(arena, "two", "committed"), "--reason", "it was wrong", "--json"]


def roll_back_all(arena: Arena) -> Sequence[str]:
    landed = entry(arena, "one", "committed")
    return ["rollback", landed, "--reason", "it was wrong", "--cascade", "--json"]


def drop(arena: Arena) -> Sequence[str]:
    return ["patch", "drop", entry(arena, "bad", "quarantined"), "--reason", "not wanted"]


def replace(arena: Arena) -> Sequence[str]:
    file = arena.work / "better.diff"
    file.write_text(plans.REPLACEMENT)
    return ["patch", "replace", entry(arena, "bad", "quarantined"), str(file), "--reason", "better"]


SCENARIOS = (
    Scenario("`run`, one task", "fresh", run_plan(plans.SMALL)),
    Scenario(
        "`db upgrade` of a database with the schema before", "old", lambda _: ["db", "upgrade"]
    ),
    Scenario("`audit checkpoint`", "past", lambda _: ["audit", "checkpoint", "--json"]),
    Scenario("`db repair-events` of damaged files", "past", repair_events, SMALL_EVENT_FILES),
    Scenario("`patch drop`", "past", drop),
    Scenario("`rollback` with compensations", "past", roll_back),
    Scenario("`rollback --cascade`", "past", roll_back_all),
    Scenario("`patch replace`", "past", replace),
    Scenario("`resume` of a run that was killed as it landed", "killed", resume),
    Scenario("`run`, while a person commits to the target", "fresh", run_plan(plans.PUSHED)),
    Scenario("`run`, two workstreams merged", "fresh", run_plan(plans.MERGED)),
    Scenario("`run`, small event files", "fresh", run_plan(plans.SMALL), SMALL_EVENT_FILES),
    Scenario("`run`, everything at once", "fresh", run_whole, exact=False),
)


def named(told: str) -> Scenario:
    """The scenario with these words."""
    return next(one for one in SCENARIOS if one.told == told)
