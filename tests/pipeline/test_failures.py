"""What a failure means for the others: dependents, siblings, independent workstreams, the run."""

import json
import time
from pathlib import Path

import pytest

from resources.execution.progress import Progress
from state.errors import StoreUnavailableError
from state.queries import history
from tests.pipeline.lab import Lab, lines, make_repository, stream, task

PERMANENT = {"tool_permanent_exit_codes": [3]}


def wait_for(mark: Path) -> str:
    """A script that waits for a file."""
    return f"while ! test -e {mark}; do sleep 0.02; done"


def triggers(lab: Lab, kind: str, key: str) -> list[tuple[str, str]]:
    return [(row.to_state, row.trigger) for row in history(lab.store, kind, key)]


def test_a_critical_failure_ends_its_workstream_and_the_others_finish(lab: Lab) -> None:
    make_repository(lab.repo)
    before = lab.head()
    going = lab.folder / "going"
    began = time.monotonic()
    ran = lab.run(
        stream(
            "core",
            task("first", "echo done >> a.txt"),
            task(
                "bad",
                f"{wait_for(going)}; echo broken; exit 7",
                max_retries=1,
                depends_on=["first"],
            ),
            task("sibling", f"touch {going}; sleep 60; echo late >> b.txt", depends_on=["first"]),
            task("after", "echo x > x.txt", depends_on=["bad"]),
        ),
        stream("needs-core", task("do", "echo x > y.txt"), depends_on=["core"]),
        stream("needs-that", task("do", "echo x > z.txt"), depends_on=["needs-core"]),
        stream("other", task("do", "echo other > other.txt")),
    )
    assert time.monotonic() - began < 30, "the sibling's tool was not ended"
    assert ran.state == "failed"
    assert ran.workstreams == {
        "core": "failed",
        "needs-core": "cancelled",
        "needs-that": "cancelled",
        "other": "completed",
    }
    assert ran.tasks == {
        "core/first": "completed",
        "core/bad": "failed",
        "core/sibling": "cancelled",
        "core/after": "cancelled",
        "needs-core/do": "cancelled",
        "needs-that/do": "cancelled",
        "other/do": "completed",
    }
    assert lab.git("diff", "--name-only", before, "main") == "other.txt"
    core = ran.workstream("core")
    assert lab.show("a.txt", core.branch) == "a\ndone"
    sibling = ran.task("core/sibling").task_id
    assert triggers(lab, "task", sibling)[-1] == ("cancelled", "critical_sibling_failed")
    after = ran.task("core/after").task_id
    assert triggers(lab, "task", after)[-1][0] == "cancelled"
    waiting = ran.workstream("needs-core").ws_id
    assert triggers(lab, "workstream", waiting)[-1] == ("cancelled", "dependency_unreachable")
    needy = ran.task("needs-core/do").task_id
    assert triggers(lab, "task", needy)[-1] == ("cancelled", "dependency_failed")
    assert ran.task("core/bad").attempts == 2
    assert "exit code 7" in ran.task("core/bad").reason
    (entry,) = history(lab.store, "workstream", core.ws_id)[-1:]
    assert (entry.to_state, entry.severity) == ("failed", "critical")

    archive = json.loads((lab.home.root / "archive" / f"{core.ws_id}.json").read_text())
    assert archive["workstream"]["state"] == "executing"
    assert {row["slug"]: row["state"] for row in archive["tasks"]} == {
        "first": "completed",
        "bad": "failed",
        "sibling": "cancelled",
        "after": "cancelled",
    }
    assert [row["state"] for row in archive["ledger"]] == ["committed"]
    assert [row["state"] for row in archive["gates"]] == ["PASSED"]
    assert len(archive["transitions"]) > 10
    assert not list((lab.home.root / "archive").glob("*.tmp"))


def test_on_critical_failure_stop_cancels_the_other_workstreams_too(lab: Lab) -> None:
    make_repository(lab.repo)
    before = lab.head()
    going = lab.folder / "going"
    ran = lab.run(
        stream("core", task("bad", f"{wait_for(going)}; exit 3", max_retries=5, **PERMANENT)),
        stream(
            "other",
            task("do", f"touch {going}; sleep 60"),
            task("then", "echo x > x", depends_on=["do"]),
        ),
        policy={"on_critical_failure": "stop"},
    )
    assert ran.workstreams == {"core": "failed", "other": "cancelled"}
    assert ran.tasks == {"core/bad": "failed", "other/do": "cancelled", "other/then": "cancelled"}
    do = ran.task("other/do").task_id
    assert triggers(lab, "task", do)[-1] == ("cancelled", "critical_sibling_failed")
    bad = ran.task("core/bad")
    assert (bad.attempts, bad.exit_code) == (1, 3)
    assert "permanent" in bad.reason
    assert (ran.state, lab.head()) == ("failed", before)


@pytest.mark.parametrize("allowed", [True, False])
def test_a_noncritical_failure_fails_the_run_unless_the_plan_allows_it(
    lab: Lab, allowed: bool
) -> None:
    ran = lab.run(
        stream(
            "mixed",
            task("good", "echo more >> a.txt"),
            task("bad", "exit 1", critical=False),
            task("after", "echo x > after.txt", critical=False, depends_on=["bad"]),
        ),
        stream("optional", task("bad", "exit 1"), critical=False),
        stream("needy", task("do", "echo x > n.txt"), depends_on=["optional"], critical=False),
        stream("other", task("do", "echo x > o.txt"), depends_on=["mixed"]),
        policy={"allow_noncritical_failures": allowed},
    )
    done = "completed" if allowed else "failed"
    assert ran.workstreams == {
        "mixed": done,
        "optional": "failed",
        "needy": "cancelled",
        "other": "completed" if allowed else "cancelled",
    }
    assert ran.tasks["mixed/bad"] == "failed"
    assert ran.tasks["mixed/after"] == "cancelled"
    assert ran.state == ("succeeded" if allowed else "failed")
    assert ("o.txt" in lab.files()) == allowed


@pytest.mark.parametrize("satisfies", [True, False])
def test_a_disabled_workstream_is_skipped_with_or_without_its_dependents(
    lab: Lab, satisfies: bool
) -> None:
    ran = lab.run(
        stream("off", task("do", "echo x > off.txt"), enabled=False),
        stream("needs-off", task("do", "echo x > on.txt"), depends_on=["off"]),
        stream("needs-that", task("do", "echo x > last.txt"), depends_on=["needs-off"]),
        stream("free", task("do", "echo x > free.txt")),
        policy={"skipped_satisfies": satisfies},
    )
    rest = "completed" if satisfies else "skipped"
    assert ran.workstreams == {
        "off": "skipped",
        "needs-off": rest,
        "needs-that": rest,
        "free": "completed",
    }
    assert ran.state == "succeeded"
    assert ({"on.txt", "last.txt"} <= set(lab.files())) == satisfies
    assert "off.txt" not in lab.files()


def test_the_next_attempt_is_told_what_went_wrong(lab: Lab) -> None:
    told = lab.folder / "told"
    told.mkdir()
    refuse = "grep -q fixed a.txt || { echo a.txt: please say fixed; exit 4; }"
    better = [
        f'printf %s "$PATCHLINE_FEEDBACK" > {told}/gate; printf %s "$1" > {told}/argument',
        'if test -n "$1"; then echo fixed >> a.txt; else echo broken >> a.txt; fi',
    ]
    outside = 'case "$PATCHLINE_FEEDBACK" in *out_of_scope*) f=b.txt;; *) f=a.txt;; esac'
    luck = 'test "$PATCHLINE_ATTEMPT" = 2 || { echo no such luck; exit 5; }'
    argument = {"tool_command": ["sh", "-c", lines(*better), "tool", "{feedback}"]}
    ran = lab.run(
        stream("gate", task("do", "", gates=["said"], max_retries=2, **argument)),
        stream(
            "scope", task("do", f"{outside}; echo x >> $f", files_scope=["b.txt"], max_retries=1)
        ),
        stream(
            "tool",
            task(
                "do",
                f'printf %s "$PATCHLINE_FEEDBACK" > {told}/tool; echo x > t; {luck}',
                max_retries=1,
            ),
        ),
        gates={"said": {"command": ["sh", "-c", refuse]}},
    )
    assert ran.state == "succeeded", ran.summary
    assert "gate said failed with exit code 4" in (told / "gate").read_text()
    assert "a.txt: please say fixed" in (told / "gate").read_text()
    assert (told / "argument").read_text() == (told / "gate").read_text()
    assert "no such luck" in (told / "tool").read_text()
    assert lab.show("a.txt") == "a\nfixed"
    assert [row.outcome for row in ran.attempts("gate/do")] == ["retrying", "validating"]
    assert [row.state for row in ran.ledger("gate/do")] == ["quarantined", "committed"]
    assert "said" in ran.ledger("gate/do")[0].quarantine_reason
    assert [row.exit_code for row in ran.attempts("tool/do")] == [5, 0]
    assert "no such luck" in ran.attempts("tool/do")[0].output
    assert all(row.attempts == 2 and row.retry_count == 1 for row in map(ran.task, ran.tasks))


def test_trouble_right_after_the_claim_is_a_failed_attempt_like_any_other(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, calls = Progress.task_started, list[str]()

    def busy_at_first(self: Progress, task_id: str) -> None:
        calls.append(task_id)
        if len(calls) == 1:
            raise StoreUnavailableError("database is locked")
        began(self, task_id)

    monkeypatch.setattr(Progress, "task_started", busy_at_first)
    ran = lab.run(stream("core", task("do", "echo x >> a.txt", max_retries=1)))
    assert ran.state == "succeeded", ran.summary
    first, second = ran.attempts("core/do")
    assert (first.outcome, second.outcome) == ("retrying", "validating")
    assert "database is locked" in first.reason
