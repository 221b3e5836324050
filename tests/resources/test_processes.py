"""Real processes: how they are started, in which folder, with which environment and input."""

import os
import sys
from pathlib import Path

import pytest

from resources.commands.environment import allowed_environment, find_command
from resources.commands.leftovers import MARKER
from resources.commands.processes import CommandNotFound, ProcessNotStarted
from tests.resources.real_processes import python, run


def test_a_signal_is_a_negative_exit_code(tmp_path: Path) -> None:
    done = run(tmp_path, "sh", "-c", "kill -KILL $$")
    assert (done.exit_code, done.signal) == (-9, 9)


def test_it_runs_in_its_folder_with_exactly_its_environment(tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "COLOUR": "blue"}
    done = python(tmp_path, "import os; print(os.getcwd(), sorted(os.environ))", env=env)
    told = done.output.replace("'LC_CTYPE', ", "")  # Python sets it for itself
    assert told == f"{tmp_path} ['COLOUR', 'PATCHLINE_PROCESS', 'PATH']\n"


def test_it_leads_a_session_of_its_own_and_on_start_gets_its_id(tmp_path: Path) -> None:
    seen: list[int] = []
    done = python(
        tmp_path, "import os; print(os.getpid(), os.getpgrp(), os.getsid(0))", on_start=seen.append
    )
    assert done.output.split() == [str(seen[0])] * 3


def test_stdin_is_empty_unless_input_is_given(tmp_path: Path) -> None:
    assert run(tmp_path, "cat").output == ""
    much = b"line of input\n" * 50_000
    assert run(tmp_path, "cat", input=much).output.encode() == much
    assert run(tmp_path, "true", input=much).exit_code == 0


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    run(tmp_path, "true", input=b"x")
    before = len(os.listdir("/dev/fd"))
    for _ in range(5):
        run(tmp_path, "true", input=b"x")
    with pytest.raises(CommandNotFound):
        run(tmp_path, "no-such-program")
    assert len(os.listdir("/dev/fd")) == before


def test_a_missing_program_is_named_with_the_path_that_was_searched(tmp_path: Path) -> None:
    with pytest.raises(CommandNotFound, match=r"'no-such-program'.*PATH \(/nowhere\)"):
        run(tmp_path, "no-such-program", env={"PATH": "/nowhere"})


def test_programs_that_cannot_be_run_say_why(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("#!/bin/sh\n")
    with pytest.raises(CommandNotFound, match="no such executable"):
        run(tmp_path, "./plain")
    (tmp_path / "broken").write_text("#!/no/such/interpreter\n")
    (tmp_path / "broken").chmod(0o755)
    with pytest.raises(CommandNotFound, match="interpreter"):
        run(tmp_path, "./broken")
    (tmp_path / "headless").write_text("echo hello\n")
    (tmp_path / "headless").chmod(0o755)
    with pytest.raises(CommandNotFound, match="first line"):
        run(tmp_path, "./headless")
    with pytest.raises(CommandNotFound, match="empty"):
        run(tmp_path)


def test_other_failures_to_start_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ProcessNotStarted, match="working folder") as gone:
        run(tmp_path / "gone", "true")
    assert gone.value.retryable
    with pytest.raises(ProcessNotStarted, match="too long"):
        run(tmp_path, "true", "x" * 200_000)
    with pytest.raises(ProcessNotStarted, match="null byte"):
        run(tmp_path, "echo", "a\0b")


def test_of_the_callers_environment_only_what_is_allowed_goes_through() -> None:
    caller = {
        "PATH": "/bin",
        "HOME": "/home/me",
        "LANG": "C",
        "LC_ALL": "C",
        "TZ": "UTC",
        "TMPDIR": "/var/tmp",
        "API_KEY": "k",
        "AWS_REGION": "here",
        "PYTHONPATH": "/evil",
        MARKER: "outer",
    }
    beside = str(Path(sys.executable).parent)
    plain = allowed_environment(caller=caller)
    assert plain == {
        "PATH": f"/bin{os.pathsep}{beside}",
        **{name: caller[name] for name in ("HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")},
    }
    more = allowed_environment(allow=["API_KEY", "AWS_*", "ABSENT"], caller=caller)
    assert set(more) - set(plain) == {"API_KEY", "AWS_REGION"}
    assert allowed_environment(extra={"HOME": "/x", "NEW": "1"}, caller=caller)["HOME"] == "/x"
    assert allowed_environment(caller={"PATH": f"{beside}:/bin"})["PATH"] == f"{beside}:/bin"


def test_a_command_is_found_where_it_would_be_run_from(tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("#!/bin/sh\n")
    (tmp_path / "tool").chmod(0o755)
    assert find_command("tool", {"PATH": "/nowhere"}) is None
    assert find_command("tool", {"PATH": f"/nowhere:{tmp_path}"}) == str(tmp_path / "tool")
    assert find_command("./tool", {"PATH": ""}, cwd=tmp_path) == f"{tmp_path}/./tool"
