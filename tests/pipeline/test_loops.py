"""A task whose tool goes round in circles is stopped, and only then."""

from tests.pipeline.lab import Lab, stream, task

RETRIES = {"max_retries": 5}


def test_the_same_patch_is_not_refused_by_the_policy_twice(lab: Lab) -> None:
    ran = lab.run(stream("core", task("one", "echo x > .env", **RETRIES)))
    assert len(ran.attempts("core/one")) == 2
    reason = ran.task("core/one").reason
    assert reason.startswith("the same patch as in attempt 1 was refused before: protected: ")


def test_the_same_patch_is_not_refused_by_a_gate_twice(lab: Lab) -> None:
    gates = {"no": {"command": ["sh", "-c", "exit 3"]}}
    ran = lab.run(
        stream("core", task("one", "echo x > a.txt", gates=["no"], **RETRIES)), gates=gates
    )
    assert len(ran.attempts("core/one")) == 2
    assert ran.task("core/one").reason == (
        "the same patch as in attempt 1 was refused before: gate no failed with exit code 3"
    )


def test_going_back_and_forth_between_two_patches_is_stopped(lab: Lab) -> None:
    gates = {"no": {"command": ["false"]}}
    script = "echo $((PATCHLINE_ATTEMPT % 2)) > a.txt"
    ran = lab.run(stream("core", task("one", script, gates=["no"], **RETRIES)), gates=gates)
    assert len(ran.attempts("core/one")) == 3
    assert ran.task("core/one").reason.startswith(
        "attempts go back and forth between two patches (attempts 1 and 3, 2 between them): "
    )


def test_a_tool_that_learns_from_the_refusals_goes_on(lab: Lab) -> None:
    gates = {"three": {"command": ["grep", "-q", "3", "a.txt"]}}
    script = "echo $PATCHLINE_ATTEMPT > a.txt"
    ran = lab.run(stream("core", task("one", script, gates=["three"], **RETRIES)), gates=gates)
    assert ran.state == "succeeded"
    assert len(ran.attempts("core/one")) == 3


def test_a_gate_that_fails_once_does_not_condemn_the_patch(lab: Lab) -> None:
    flag = lab.folder / "failed-once"
    flaky = f"test -e {flag} || {{ touch {flag}; exit 1; }}"
    gates = {"flaky": {"command": ["sh", "-c", flaky]}}
    one = task("one", "echo x > a.txt", gates=["flaky"], **RETRIES)
    ran = lab.run(stream("core", one), gates=gates)
    assert ran.state == "succeeded"
    assert len(ran.attempts("core/one")) == 2


def test_a_gate_that_was_killed_or_ran_out_of_time_says_nothing_of_the_patch(lab: Lab) -> None:
    """Killed in attempts 1 and 2, out of time in 3 and 4, passed in 5: always the same patch."""
    count = lab.folder / "count"
    script = "\n".join(
        (
            f"echo x >> {count}",
            f"case $(wc -l < {count}) in",
            "1) kill -9 $$ ;;",
            "2) sh -c 'kill -9 $$' ; exit $? ;;",
            "3|4) sleep 60 ;;",
            "esac",
        )
    )
    gates = {"moody": {"command": ["sh", "-c", script], "timeout_sec": 0.3}}
    one = task("one", "echo x > a.txt", gates=["moody"], **RETRIES)
    ran = lab.run(stream("core", one), gates=gates)
    assert ran.state == "succeeded"
    assert len(ran.attempts("core/one")) == 5


def test_a_conflict_is_no_refusal_of_the_patch(lab: Lab) -> None:
    """Both tasks change one line; whoever comes second meets a conflict, then does it anew."""
    both = "until [ -e {0}/both ]; do [ -e {0}/$2 ] && touch {0}/both; sleep 0.02; done"
    wait = both.format(lab.folder)
    scripts = [
        f"set -- {me} {other}; touch {lab.folder}/$1; {wait}; echo {me} > a.txt"
        for me, other in (("x", "y"), ("y", "x"))
    ]
    tasks = [task(name, one, **RETRIES) for name, one in zip("pq", scripts, strict=True)]
    ran = lab.run(stream("core", *tasks))
    assert ran.state == "succeeded"
    assert len(ran.ledger(state="quarantined")) == 1
