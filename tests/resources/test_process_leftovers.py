"""What real processes of the nasty kind leave behind is killed; what is another's is not."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.resources.real_processes import alive, eventually, python, run

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
_LOOK = os.WEXITED | os.WNOHANG | os.WNOWAIT


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
