"""`dev`: the Dagster UI on a home, and nothing left when it stops."""

import re
import signal
import socket
import urllib.request

import psutil

from tests.cli.shell import Shell, wait_until


def test_a_taken_port_is_refused_when_it_was_asked_for(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = shell.run("dev", "--port", str(taken.getsockname()[1]))
    assert result.code == 3
    assert "--port" in result.err


def test_dev_serves_the_ui_until_it_is_stopped_and_leaves_no_process(shell: Shell) -> None:
    process = shell.start("dev")
    assert process.stdout is not None
    said = process.stdout.readline()
    found = re.search(r"http://127\.0\.0\.1:\d+", said)
    assert found, said + (process.communicate(timeout=60)[1] if not said else "")
    with urllib.request.urlopen(f"{found[0]}/server_info", timeout=30) as answer:
        assert b"dagster_webserver_version" in answer.read()
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 2
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in err) == (0, False)
    wait_until(lambda: not any(child.is_running() for child in children), "all have ended")
    assert (shell.home.root / "logs" / "webserver.log").exists()
