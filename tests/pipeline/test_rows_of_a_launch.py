"""The rows that a launch makes: settled by the same rules as ever after, in the same write."""

from dataclasses import replace

from pipeline_defs.runs import Launch, open_run
from state.propagation.cascade import cascade
from state.propagation.facts import Policy
from state.propagation.reading import run_facts
from state.queries import history
from tests.pipeline.lab import Lab, make_repository, stream, task


def test_what_cannot_begin_is_skipped_or_blocked_and_says_why(lab: Lab) -> None:
    make_repository(lab.repo)
    do = [task("do", "echo x > a.txt"), task("then", "echo y > a.txt", depends_on=["do"])]
    revision = lab.register(
        stream("off", *do, enabled=False),
        stream("behind", *do, depends_on=["off"]),
        stream("last", *do, depends_on=["behind"]),
        stream("free", *do),
        stream("next", *do, depends_on=["free"]),
    )
    store = lab.store
    run_id = open_run(store, lab.home, Launch(revision)).run_id
    said: dict[str, tuple[str, str, str | None]] = {}
    for ws in store.find("workstream", run_id=run_id):
        record = history(store, "workstream", ws.ws_id)[-1]
        said[ws.slug] = (record.to_state, record.trigger, record.reason)
        for row in store.find("task", workstream_id=ws.ws_id):
            record = history(store, "task", row.task_id)[-1]
            said[f"{ws.slug}/{row.slug}"] = (record.to_state, record.trigger, record.reason)
            assert row.blocked_by == (["do"] if row.slug == "then" else None)
    waits = ("blocked", "dependency_check_failed", "waits for do")
    new = ("pending", "created", None)
    assert said == {
        "off": ("skipped", "disabled", "disabled in the plan"),
        "behind": ("skipped", "disabled", "depends on skipped off"),
        "last": ("skipped", "disabled", "depends on skipped behind"),
        "free": ("planned", "created", None),
        "free/do": new,
        "free/then": waits,
        "next": ("blocked", "dependency_check_failed", "waits for free"),
        "next/do": new,
        "next/then": waits,
    }
    begun = replace(run_facts(store, run_id), state="running")
    assert cascade(begun, Policy()) == [], "nothing is left to settle"
