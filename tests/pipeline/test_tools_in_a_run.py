"""Tools that behave, on awkward names, large repositories and ignored files."""

import sys
from pathlib import Path

import pytest

from tests.pipeline.lab import Lab, make_repository, stream, task

TOLERANT = {"policy": {"allow_noncritical_failures": True}}


PLAIN_NAMES = ["with space.txt", "naïve-日本.txt", "it's $HOME;x.txt"]
ODD_NAMES = ["new\nline.txt", "-rf", "tab\t.txt", '"quoted".txt', "*"]


def test_names_that_trip_scripts_up_land_like_any_other(lab: Lab) -> None:
    names = [*PLAIN_NAMES, *ODD_NAMES]
    make_repository(lab.repo, {"a.txt": "a\n", **{f"d/{name}": "old\n" for name in names}})
    rewrite = "import sys\nfor f in sys.argv[1:]: open(f, 'a').write('new\\n')\n"
    create = (
        f"import os\nos.mkdir('n')\nfor f in {PLAIN_NAMES!r}: open('n/' + f, 'w').write('new\\n')\n"
    )
    ran = lab.run(
        stream(
            "change",
            task(
                "do",
                "",
                tool_command=[sys.executable, "-c", rewrite, "{files}"],
                files_scope=["d/**"],
            ),
        ),
        stream(
            "make",
            task("do", "", tool_command=[sys.executable, "-c", create], files_create=["n/**"]),
        ),
    )
    assert ran.state == "succeeded", ran.summary
    assert {f"n/{name}" for name in PLAIN_NAMES} <= set(lab.files())
    assert all(lab.show(f"d/{name}") == "old\nnew" for name in names)
    assert all((lab.repo / "d" / name).read_text() == "old\nnew\n" for name in names)


def test_new_names_that_trip_scripts_up_are_refused(lab: Lab) -> None:
    make_repository(lab.repo)
    create = f"for f in {ODD_NAMES!r}: open(f, 'w').write('new\\n')\n"
    make = stream("make", task("do", "", tool_command=[sys.executable, "-c", create]))
    ran = lab.run(make)
    assert ran.state == "failed"
    assert ran.refusals("make/do") == {"path_characters", "windows_name"}


def test_a_repository_with_more_files_than_a_patch_may_change_is_no_obstacle(lab: Lab) -> None:
    big = {f"many/{number}.txt": "x" * 20_000 for number in range(150)}
    make_repository(lab.repo, {"a.txt": "a\n", **big})
    ran = lab.run(stream("core", task("do", "echo more >> a.txt")))
    assert ran.state == "succeeded", ran.summary["tasks"]


def test_ignored_files_are_no_part_of_a_patch_and_a_new_ignore_rule_is(lab: Lab) -> None:
    make_repository(lab.repo, {"a.txt": "a\n", ".gitignore": "*.log\n"})
    (lab.repo / "kept.log").write_text("tracked\n")
    lab.git("add", "-f", "kept.log")
    lab.git("commit", "-q", "-m", "a tracked file that is ignored")
    ran = lab.run(
        stream(
            "logs",
            task("do", "echo more >> kept.log; echo x > other.log; echo b > b.txt"),
            task("only", "echo x > other.log", critical=False),
        ),
        stream("rule", task("do", "echo c.txt >> .gitignore; echo x > c.txt"), depends_on=["logs"]),
        gates={"ok": {"command": ["sh", "-c", "! ls other.log c.txt"]}},
        **TOLERANT,
    )
    assert lab.files() == [".gitignore", "a.txt", "b.txt", "kept.log"]
    assert lab.show("kept.log") == "tracked\nmore"
    assert "changed nothing" in ran.task("logs/only").reason


def test_no_change_fails_a_task_unless_it_may_leave_things_as_they_are(lab: Lab) -> None:
    ran = lab.run(
        stream("strict", task("do", "true", max_retries=1), critical=False),
        stream(
            "easy",
            task("do", "true", on_no_change="complete"),
            task("then", "echo x >> a.txt", depends_on=["do"]),
        ),
        stream("nothing", task("do", "true", tool_on_no_change="complete")),
        **TOLERANT,
    )
    assert ran.tasks == {
        "strict/do": "failed",
        "easy/do": "completed",
        "easy/then": "completed",
        "nothing/do": "completed",
    }
    assert ran.task("strict/do").attempts == 2
    assert not ran.ledger("easy/do")
    assert ran.workstreams["nothing"] == "completed"


def test_a_tool_sees_little_of_the_callers_environment(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hunter2hunter2")
    monkeypatch.setenv("GIT_DIR", str(Path("/nowhere")))
    monkeypatch.setenv("ALLOWED", "yes")
    ran = lab.run(stream("core", task("do", "env > env.txt", tool_env_allow=["ALLOWED"])))
    monkeypatch.delenv("GIT_DIR")
    said = dict(line.split("=", 1) for line in lab.show("env.txt").splitlines() if "=" in line)
    assert "SECRET_TOKEN" not in said
    assert "GIT_DIR" not in said
    assert said["ALLOWED"] == "yes"
    assert said["PATCHLINE_TASK"] == "core/do"
    assert ran.state == "succeeded"
