"""How real processes are ended: by a deadline, silence, a stop, or a callback that fails."""

import signal
import threading
import time
from pathlib import Path

import pytest

from resources.commands.processes import Limits
from tests.resources.real_processes import alive, python, run


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


def test_a_callback_that_raises_kills_the_command(tmp_path: Path) -> None:
    seen: list[int] = []

    def broken(pid: int) -> None:
        seen.append(pid)
        raise KeyError("bug")

    with pytest.raises(KeyError, match="bug"):
        run(tmp_path, "sleep", "60", on_start=broken)
    assert not alive(seen[0])
