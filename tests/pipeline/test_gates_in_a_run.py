"""Gates judge exactly what lands, in the order they need each other."""

from pipeline_defs.runs import Launch, open_run
from tests.pipeline.lab import Lab, make_repository, stream, task


def test_a_gate_sees_exactly_the_candidate_tree_and_changes_nothing_for_others(lab: Lab) -> None:
    make_repository(lab.repo, {"a.txt": "a\n", ".gitignore": "*.log\n", "src/one.py": "x = 1\n"})
    exact = (
        'test -z "$(git status --porcelain --ignored --untracked-files=all | grep -v "^M  a.txt")"'
    )
    spoil = "echo spoiled >> a.txt; echo x > new.txt; rm -rf src/one.py .git; mkdir src/.git"
    ran = lab.run(
        stream("core", task("do", "echo more >> a.txt; echo x > build.log"), gates=["exact-again"]),
        gates={
            "exact": {"command": ["sh", "-c", exact]},
            "spoil": {"command": ["sh", "-c", spoil], "depends_on": ["exact"]},
            "exact-again": {
                "command": ["sh", "-c", f"{exact} && test ! -e src/.git && test -e src/one.py"],
                "depends_on": ["spoil"],
            },
        },
    )
    assert ran.state == "succeeded", [g.output for g in ran.gates()]
    assert lab.files() == [".gitignore", "a.txt", "src/one.py"]
    assert lab.show("a.txt") == "a\nmore"
    names = [gate.name for gate in ran.gates(role="exit")]
    assert names == ["exact", "spoil", "exact-again"]


def test_failed_gates_block_what_needs_them_and_advisory_ones_only_warn(lab: Lab) -> None:
    mark = lab.folder / "mark"
    ran = lab.run(
        stream(
            "blocked", task("do", "echo x >> a.txt"), gates=["unit", "separate"], critical=False
        ),
        stream("advisory", task("do", "echo x >> b.txt", gates=["advice", "ok"])),
        stream("indirect", task("do", "echo x > c.txt", gates=["after-advice"]), critical=False),
        stream("slow", task("do", "echo x > d.txt", gates=["slow"]), critical=False),
        stream("missing", task("do", "echo x > e.txt", gates=["missing"]), critical=False),
        stream("codes", task("do", "echo x > f.txt", gates=["code"])),
        gates={
            "lint": {"command": ["sh", "-c", "echo untidy; exit 1"]},
            "unit": {"command": ["touch", str(mark)], "depends_on": ["lint"]},
            "separate": {"command": ["true"]},
            "advice": {"command": ["false"], "blocking": False},
            "after-advice": {"command": ["true"], "depends_on": ["advice"]},
            "slow": {"command": ["sh", "-c", "sleep 60 & sleep 60"], "timeout_sec": 0.3},
            "missing": {"command": ["{worktree}/no-such-script"]},
            "code": {"command": ["sh", "-c", "exit 3"], "expected_exit_codes": [0, 3]},
        },
        policy={"allow_noncritical_failures": True},
    )
    assert ran.state == "succeeded", ran.summary
    assert ran.workstreams == {
        "blocked": "failed",
        "advisory": "completed",
        "indirect": "failed",
        "slow": "failed",
        "missing": "failed",
        "codes": "completed",
    }
    of = {
        (gate.name, ran.store.get("workstream", gate.workstream_id).slug): gate
        for gate in ran.gates()
    }
    assert of["unit", "blocked"].state == "BLOCKED"
    assert of["separate", "blocked"].state == "PASSED"
    assert not mark.exists()
    assert of["advice", "advisory"].state == "FAILED"
    assert of["after-advice", "indirect"].state == "BLOCKED"
    assert "did not run" in ran.task("indirect/do").reason
    slow = of["slow", "slow"]
    assert (slow.state, slow.exit_code, slow.timed_out) == ("FAILED", 124, True)
    missing = of["missing", "missing"]
    assert (missing.state, missing.exit_code) == ("FAILED", 127)
    assert "no-such-script" in missing.output
    assert of["code", "codes"].exit_code == 3


def test_entry_gates_must_pass_before_a_task_is_queued(lab: Lab) -> None:
    ran = lab.run(
        stream("good", task("do", "echo x >> a.txt", entry_gates=["clean"])),
        stream("bad", task("do", "echo x >> b.txt", entry_gates=["never"]), critical=False),
        gates={"clean": {"command": ["grep", "-c", "a", "a.txt"]}, "never": {"command": ["false"]}},
        policy={"allow_noncritical_failures": True},
    )
    assert ran.tasks == {"good/do": "completed", "bad/do": "cancelled"}
    (entry,) = ran.gates(role="entry", task_id=ran.task("good/do").task_id)
    assert entry.state == "PASSED"
    assert not ran.attempts("bad/do")


def test_a_workstream_whose_merge_does_not_pass_leaves_the_target_alone(lab: Lab) -> None:
    make_repository(lab.repo)
    alone = "test ! -e one.txt || test ! -e two.txt"
    ran = lab.run(
        stream("one", task("do", "echo x > one.txt"), gates=["apart"]),
        stream("two", task("do", "echo x > two.txt"), gates=["apart"]),
        gates={"apart": {"command": ["sh", "-c", alone]}},
        max_concurrent=1,
    )
    assert sorted(ran.workstreams.values()) == ["completed", "failed"]
    assert len({"one.txt", "two.txt"} & set(lab.files())) == 1
    (failed,) = [row for row in ran.summary["workstreams"] if row["state"] == "failed"]
    assert "gate apart failed" in failed["reason"]
    assert (lab.home.root / "archive" / f"{failed['ws_id']}.json").exists()


def test_gates_are_told_about_the_task_they_judge(lab: Lab) -> None:
    first = 'test "$PATCHLINE_ATTEMPT" = 2 || { echo x > a.txt; exit 9; }; echo new > src/new.txt'
    words = ["{task}", "{attempt}", "{prompt}", "{feedback}", "{plan_dir}", "{files}"]
    ran = lab.run(
        stream(
            "core",
            task(
                "do",
                first,
                prompt="Make it new",
                files_scope=["src/**"],
                max_retries=1,
                gates=["told"],
                entry_gates=["told"],
            ),
            gates=["told"],
        ),
        gates={"told": {"command": ["printf", "<%s>", *words]}},
    )
    assert ran.state == "succeeded", ran.summary
    (entry,), (exit_,), (merge,) = (ran.gates(role=r) for r in ("entry", "exit", "workstream"))
    start = f"<core/do><%s><Make it new><%s><{lab.folder}>"
    assert entry.output == start % (1, "") + "<src/one.py><src/two.py>"
    failed = f"Tool {ran.task('core/do').tool_id} failed: exit code 9"
    assert exit_.output.startswith(start.split("%s")[0] + f"2><Make it new><{failed}")
    assert exit_.output.endswith(f"<{lab.folder}><src/new.txt><src/one.py><src/two.py>")
    assert merge.output == f"<core><><><><{lab.folder}>"


def test_an_advisory_entry_gate_only_warns(lab: Lab) -> None:
    ran = lab.run(
        stream("core", task("do", "echo x >> a.txt", entry_gates=["advice", "clean"])),
        gates={
            "advice": {"command": ["false"], "blocking": False},
            "clean": {"command": ["true"]},
        },
    )
    assert ran.tasks == {"core/do": "completed"}
    advice, clean = ran.gates(role="entry")
    assert (advice.state, clean.state) == ("FAILED", "PASSED")


def test_a_task_that_may_never_be_queued_is_cancelled_and_the_run_ends(lab: Lab) -> None:
    make_repository(lab.repo)
    revision = lab.register(stream("core", task("do", "echo x >> a.txt")))
    run_id = open_run(lab.store, lab.home, Launch(revision)).run_id
    (ws,) = lab.store.find("workstream", run_id=run_id)
    (row,) = lab.store.find("task", workstream_id=ws.ws_id)
    gate = lab.store.create("test_gate", gate_type="UNIT", command=["by-hand"], run_id=run_id)
    lab.store.add_task_gate(row.task_id, gate.gate_id, "entry")
    lab.store.transition("test_gate", gate.gate_id, "RUNNING")
    lab.store.transition("test_gate", gate.gate_id, "FAILED", exit_code=1)
    ran = lab.execute(revision, run_id)
    assert (ran.state, ran.tasks) == ("failed", {"core/do": "cancelled"})
    assert gate.gate_id in ran.task("core/do").reason
