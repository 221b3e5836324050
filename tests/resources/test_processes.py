"""Real processes of the nasty kind: what `run_process` bounds, kills and reports."""

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from resources.commands.environment import allowed_environment, find_command
from resources.commands.leftovers import MARKER
from resources.commands.processes import (
    CommandNotFound,
    Limits,
    ProcessNotStarted,
    ProcessResult,
    run_process,
)

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs a child subreaper")

# Detaches completely (new session, double fork, no inherited files), writes its id, and lives on.
DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.dup2(os.open(os.devnull, os.O_RDWR), 1)
        os.dup2(1, 2)
        {shed}
        with open(sys.argv[1] + ".new", "w") as f:
            f.write(str(os.getpid()))
        os.rename(sys.argv[1] + ".new", sys.argv[1])
        time.sleep(60)
    os._exit(0)
while not os.path.exists(sys.argv[1]):
    time.sleep(0.005)
"""
# Starts over with an empty environment, so that no marker is left.
SHED = (
    'os.environ.get("PATH") and os.execve(sys.executable, '
    '[sys.executable, "-S", "-E", "-c", CODE, sys.argv[1]], {})'
)
AFTER_SHED = """
import os, sys, time
with open(sys.argv[1] + ".new", "w") as f:
    f.write(str(os.getpid()))
os.rename(sys.argv[1] + ".new", sys.argv[1])
time.sleep(60)
"""
SHEDDING_DAEMON = f"CODE = {AFTER_SHED!r}\n" + DAEMON.format(shed=SHED)
MARKED_DAEMON = DAEMON.format(shed="pass")


def run(tmp_path: Path, *argv: str, **options: Any) -> ProcessResult:
    options.setdefault("timeout_sec", 20)
    options.setdefault("env", allowed_environment())
    return run_process(argv, cwd=tmp_path, **options)


def python(tmp_path: Path, code: str, *args: str, **options: Any) -> ProcessResult:
    return run(tmp_path, sys.executable, "-S", "-E", "-c", code, *args, **options)


def alive(pid: int) -> bool:
    """Also a zombie counts: it was to be reaped."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def eventually(condition: Callable[[], bool], seconds: float = 10) -> bool:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.005)
    return True


def test_output_of_both_streams_comes_in_order_with_the_exit_code(tmp_path: Path) -> None:
    done = run(tmp_path, "sh", "-c", "echo one; echo two >&2; echo three; exit 7")
    assert (done.exit_code, done.signal) == (7, None)
    assert done.output == "one\ntwo\nthree\n"
    assert done.output_bytes == 14
    assert (done.timed_out, done.silent, done.stopped) == (False, False, False)


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


def test_the_resources_it_used_are_reported(tmp_path: Path) -> None:
    done = python(tmp_path, "x = bytearray(50_000_000); sum(range(3_000_000))")
    assert done.cpu_user_sec > 0.01
    assert 50_000_000 < done.max_rss_bytes < _peak_bytes() + 100_000_000


def test_a_flood_keeps_head_and_tail_in_bounded_memory(tmp_path: Path) -> None:
    code = """
import os
os.write(1, b"the first line\\n")
block = b"x" * 65535 + b"\\n"
for _ in range(3000): os.write(1, block)
os.write(1, b"the last line\\n")
"""
    before = _peak_bytes()
    done = python(tmp_path, code, limits=Limits(output_bytes=100_000))
    assert done.output_bytes == 3000 * 65536 + 29
    assert done.output.startswith("the first line\n")
    assert done.output.endswith("\nthe last line\n")
    assert f"[patchline: {done.output_bytes - 100_000} bytes cut here]" in done.output
    assert len(done.output) < 100_100
    assert _peak_bytes() - before < 30_000_000


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.parametrize("size", [99, 100, 101, 5000, 8291, 8292, 8293, 20_000])
def test_every_size_around_the_cap_keeps_the_right_bytes(tmp_path: Path, size: int) -> None:
    whole = "".join(chr(97 + n % 26) for n in range(size))
    done = run(tmp_path, "cat", input=whole.encode(), limits=Limits(output_bytes=100))
    expected = whole
    if size > 100:
        expected = f"{whole[:50]}\n[patchline: {size - 100} bytes cut here]\n{whole[-50:]}"
    assert done.output == expected


def test_a_secret_lying_on_the_cut_is_redacted_as_a_whole(tmp_path: Path) -> None:
    text = b"a" * 45 + b"SECRET-SECRET" + b"b" * 9000 + b"SECRET-SECRET" + b"c" * 45
    done = run(
        tmp_path,
        "cat",
        input=text,
        limits=Limits(output_bytes=100),
        redact=lambda found: found.replace("SECRET-SECRET", "[redacted]"),
    )
    assert "SEC" not in done.output
    assert "RET" not in done.output


def test_bytes_that_are_no_text_do_no_harm(tmp_path: Path) -> None:
    done = run(tmp_path, "cat", input=b"a\0b\xff\xfec")
    assert done.output == "a\ufffdb\ufffd\ufffdc"


def test_a_deadline_ends_it(tmp_path: Path) -> None:
    done = run(tmp_path, "sh", "-c", "echo started; sleep 60", timeout_sec=0.3)
    assert (done.timed_out, done.silent, done.stopped) == (True, False, False)
    assert done.exit_code == -signal.SIGTERM
    assert done.output == "started\n"
    assert done.seconds < 5


def test_one_that_ignores_sigterm_is_killed_after_the_grace(tmp_path: Path) -> None:
    code = """
import signal, time
signal.signal(signal.SIGTERM, lambda *_: print("no", flush=True))
print("deaf", flush=True)
while True: time.sleep(1)
"""
    done = python(tmp_path, code, timeout_sec=0.5, limits=Limits(grace_sec=0.3))
    assert done.timed_out
    assert done.exit_code == -signal.SIGKILL
    assert done.output == "deaf\nno\n"


def test_one_that_ends_politely_on_sigterm_keeps_its_exit_code(tmp_path: Path) -> None:
    code = """
import signal, sys, time
def bye(*_):
    print("bye", flush=True)
    sys.exit(3)
signal.signal(signal.SIGTERM, bye)
print("up", flush=True)
time.sleep(60)
"""
    done = python(tmp_path, code, timeout_sec=0.5)
    assert (done.exit_code, done.timed_out, done.output) == (3, True, "up\nbye\n")


def test_a_stopped_process_is_ended_too(tmp_path: Path) -> None:
    done = run(tmp_path, "sh", "-c", "kill -STOP $$", timeout_sec=0.3)
    assert (done.timed_out, done.exit_code) == (True, -signal.SIGTERM)


def test_silence_ends_it_but_regular_output_does_not(tmp_path: Path) -> None:
    talking = "for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.1; done"
    assert run(tmp_path, "sh", "-c", talking, silence_sec=0.6).exit_code == 0
    done = run(tmp_path, "sh", "-c", "echo one; sleep 60", silence_sec=0.3)
    assert (done.silent, done.timed_out, done.output) == (True, False, "one\n")


def test_one_that_closed_its_output_is_still_waited_for(tmp_path: Path) -> None:
    done = run(tmp_path, "sh", "-c", "exec >/dev/null 2>&1; sleep 0.2; exit 4")
    assert (done.exit_code, done.seconds >= 0.2) == (4, True)


def test_the_stop_event_ends_it_at_once_also_during_a_flood(tmp_path: Path) -> None:
    stop = threading.Event()
    asked: list[float] = []

    def ask(_pid: int) -> None:
        def later() -> None:
            asked.append(time.monotonic())
            stop.set()

        threading.Timer(0.2, later).start()

    for command in (["sleep", "60"], ["yes"]):
        stop.clear()
        done = run(tmp_path, *command, stop=stop, on_start=ask)
        took = time.monotonic() - asked[-1]
        assert (done.stopped, done.exit_code) == (True, -signal.SIGTERM)
        assert took < 1.0


def test_a_stop_event_set_beforehand_ends_it_too(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    assert run(tmp_path, "sleep", "60", stop=stop).stopped


def test_background_children_in_its_group_are_killed_on_a_normal_end(tmp_path: Path) -> None:
    done = run(tmp_path, "sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!")
    assert done.exit_code == 0
    assert eventually(lambda: not alive(int(done.output)))


def test_a_leftover_that_holds_the_output_open_does_not_hang_us(tmp_path: Path) -> None:
    done = run(tmp_path, "sh", "-c", "sleep 60 & echo $!")
    assert (done.exit_code, done.timed_out) == (0, False)
    assert done.seconds < 10


@linux_only
@pytest.mark.parametrize("daemon", [MARKED_DAEMON, SHEDDING_DAEMON], ids=["marked", "shedding"])
def test_a_daemon_that_left_its_session_is_killed_and_reaped(tmp_path: Path, daemon: str) -> None:
    done = python(tmp_path, daemon, str(tmp_path / "pid"))
    assert done.exit_code == 0, done.output
    assert done.leftovers_killed == 1
    assert done.leftovers_alive == ()
    assert not alive(int((tmp_path / "pid").read_text()))


@linux_only
def test_a_dead_orphan_leaves_no_zombie(tmp_path: Path) -> None:
    done = run(tmp_path, "sh", "-c", "setsid sh -c 'echo $$' & wait; sleep 0.05")
    assert not alive(int(done.output))


@linux_only
def test_one_commands_leftovers_are_killed_and_another_ones_are_not(tmp_path: Path) -> None:
    stop = threading.Event()
    for name, daemon in (("marked", MARKED_DAEMON), ("shedding", SHEDDING_DAEMON)):
        stop.clear()
        theirs = tmp_path / name
        with ThreadPoolExecutor(1) as pool:
            code = daemon + "time.sleep(60)\n"
            other = pool.submit(python, tmp_path, code, str(theirs), stop=stop)
            try:
                assert eventually(theirs.exists)
                mine = python(tmp_path, MARKED_DAEMON, str(tmp_path / f"mine-{name}"))
                assert mine.leftovers_killed == 1
                assert alive(int(theirs.read_text()))
            finally:
                stop.set()
            assert other.result().stopped
        assert not alive(int(theirs.read_text()))


@linux_only
def test_children_that_others_start_during_a_command_are_left_alone(tmp_path: Path) -> None:
    theirs: list[subprocess.Popen[bytes]] = []

    def start_others(_pid: int) -> None:
        for env in ({}, dict(os.environ)):
            theirs.append(subprocess.Popen(["/bin/sleep", "60"], env=env, start_new_session=True))
            theirs.append(subprocess.Popen(["/bin/sleep", "60"], env=env, process_group=0))
            theirs.append(subprocess.Popen(["/bin/sh", "-c", "exit 5"], start_new_session=True))

    try:
        done = python(tmp_path, SHEDDING_DAEMON, str(tmp_path / "pid"), on_start=start_others)
        assert done.leftovers_killed == 1
        assert [process.wait() for process in theirs[2::3]] == [5, 5]
        assert [process.poll() for n, process in enumerate(theirs) if n % 3 < 2] == [None] * 4
    finally:
        for process in theirs:
            process.kill()
            process.wait()


@linux_only
def test_children_that_others_started_are_left_alone(tmp_path: Path) -> None:
    own_session = subprocess.Popen(["sleep", "60"], start_new_session=True)
    plain = subprocess.Popen(["sleep", "60"])
    dead = subprocess.Popen(["sh", "-c", "exit 5"], start_new_session=True)
    try:
        assert eventually(lambda: os.waitid(os.P_PID, dead.pid, _LOOK) is not None)
        assert python(tmp_path, MARKED_DAEMON, str(tmp_path / "pid")).leftovers_killed == 1
        assert own_session.poll() is None
        assert plain.poll() is None
        assert dead.wait() == 5
    finally:
        for process in (own_session, plain):
            process.kill()
            process.wait()


_LOOK = os.WEXITED | os.WNOHANG | os.WNOWAIT


def test_sixteen_threads_each_get_their_own_output_and_exit_code(tmp_path: Path) -> None:
    def one(n: int) -> tuple[int, str]:
        done = run(tmp_path, "sh", "-c", f"setsid sleep 60 >/dev/null 2>&1 & echo {n}; exit {n}")
        return done.exit_code, done.output

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(one, range(64))) == [(n, f"{n}\n") for n in range(64)]
    assert _sleepers_of_ours() == []


def _sleepers_of_ours() -> list[str]:
    listed = subprocess.run(["ps", "-o", "args=", "--ppid", str(os.getpid())], capture_output=True)
    return [line for line in listed.stdout.decode().splitlines() if line.startswith("sleep")]


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    run(tmp_path, "true", input=b"x")
    before = len(os.listdir("/dev/fd"))
    for _ in range(5):
        run(tmp_path, "true", input=b"x")
    with pytest.raises(CommandNotFound):
        run(tmp_path, "no-such-program")
    assert len(os.listdir("/dev/fd")) == before


def test_a_callback_that_raises_kills_the_command(tmp_path: Path) -> None:
    seen: list[int] = []

    def broken(pid: int) -> None:
        seen.append(pid)
        raise KeyError("bug")

    with pytest.raises(KeyError, match="bug"):
        run(tmp_path, "sleep", "60", on_start=broken)
    assert not alive(seen[0])


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
