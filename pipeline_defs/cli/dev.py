"""`dev`: Dagster's webserver and daemon on this home, until Ctrl-C.

Each runs in a process group of its own, together with the code servers and run workers that it
starts, so that stopping ends them all. Their output goes to files under the home.
"""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import click

from state.errors import PatchlineError, PreflightError
from state.home import Home

DEFAULT_PORT = 3000
READY_SEC = 120.0
STOP_SEC = 20.0
"""How long the processes get to end by themselves: runs in them record that they were stopped."""
POLL_SEC = 0.2
TAIL_LINES = 15
CHECKOUT = Path(__file__).resolve().parents[2]
WORKSPACE = """\
# Written by `patchline dev`: the patchline code location in this environment.
load_from:
  - python_module:
      module_name: pipeline_defs.definitions
      location_name: patchline
"""


@dataclass(frozen=True)
class Service:
    """A child of ours with its process group."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def tail(self) -> str:
        """The end of what it printed."""
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-TAIL_LINES:])


@click.command()
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    help=f"[default: {DEFAULT_PORT}, or a free one when that is taken]",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
def dev(port: int | None, host: str) -> int:
    """Open the Dagster UI on this home: webserver and daemon, until Ctrl-C.

    Shows every run of `patchline run`, and launches the plans that are registered here or lie in
    the folder $PATCHLINE_PLANS (by default examples/plans).
    """
    from pipeline_defs.preflight import check_home

    home = Home.find()
    check_home(home)
    home.create()
    port = _port(host, port)
    url = f"http://{_url_host(host)}:{port}"
    environment = prepared_environment(home)
    workspace = str(_workspace(Path(environment["DAGSTER_HOME"])))
    web = ["dagster_webserver", "-h", host, "-p", str(port), "-w", workspace]
    daemon = ["dagster._daemon", "run", "-w", workspace]
    with _stopping_on_signals() as stop, _services(home, environment, [web, daemon]) as services:
        click.echo(f"Starting Dagster on {home.root}; logs in {services[0].log.parent}.", err=True)
        if not _wait_until_ready(url, services, stop):
            return 0
        click.echo(f"The Dagster UI is at {url} (Ctrl-C stops it)")
        sys.stdout.flush()
        while not stop:
            _check_alive(services)
            time.sleep(POLL_SEC)
        click.echo("Stopping.", err=True)
    return 0


def _port(host: str, wanted: int | None) -> int:
    """The wanted port, the usual one, or a free one.

    Raises:
        PreflightError: the wanted port is taken, or the address is not one of this computer.
    """
    reason = ""
    for port in (wanted,) if wanted else (DEFAULT_PORT, 0):
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port or 0))
                return int(probe.getsockname()[1])
        except OSError as error:
            reason = error.strerror or str(error)
    raise PreflightError(
        f"{host}:{wanted or DEFAULT_PORT} cannot be listened on: {reason}",
        hint="leave --port out for a free one, or choose another --host",
    )


def _url_host(host: str) -> str:
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{reachable}]" if ":" in reachable else reachable


def prepared_environment(home: Home) -> dict[str, str]:
    """Prepare Dagster's folder, and say what the children are told.

    Paths are absolute, for the children's current folders are their own.
    """
    from pipeline_defs.dagster_home import dagster_instance

    # Makes Dagster's tables in a new home; webserver and daemon would race in doing so.
    with dagster_instance(home):
        pass
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "DAGSTER_DISABLE_TELEMETRY": "yes"}
    if plans := environment.get("PATCHLINE_PLANS"):
        environment["PATCHLINE_PLANS"] = str(Path(plans).absolute())
    return environment


def _workspace(folder: Path) -> Path:
    """The workspace file of the checkout, or one of our own when patchline is installed."""
    own = CHECKOUT / "workspace.yaml"
    if own.is_file() and (CHECKOUT / "pyproject.toml").is_file():
        return own
    written = folder / "workspace.yaml"
    if not written.exists():
        written.write_text(WORKSPACE, encoding="utf-8")
    return written


@contextmanager
def _stopping_on_signals() -> Iterator[list[int]]:
    """A list that holds the signal once somebody asked us to stop.

    Installing handlers also means that the children begin with the default ones, even when we
    were started in the background with SIGINT ignored.
    """
    received: list[int] = []

    def handle(number: int, _: FrameType | None) -> None:
        received.append(number)

    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, handle) for number in signals}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _services(
    home: Home, environment: dict[str, str], modules: Sequence[Sequence[str]]
) -> Iterator[list[Service]]:
    """Start the modules, and stop them all when the block ends."""
    logs = home.root / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    started: list[Service] = []
    try:
        for module, *arguments in modules:
            name = "daemon" if module.endswith("daemon") else "webserver"
            log = logs / f"{name}.log"
            with log.open("wb") as output:
                process = subprocess.Popen(
                    [sys.executable, "-m", module, *arguments],
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            started.append(Service(name, process, log))
        yield started
    finally:
        _stop(started)


def _wait_until_ready(url: str, services: Sequence[Service], stop: Sequence[int]) -> bool:
    """Whether the webserver answers; False when we were asked to stop before it did.

    Raises:
        PatchlineError: a service ended, or nothing answered in time.
    """
    deadline = time.monotonic() + READY_SEC
    while not stop:
        _check_alive(services)
        try:
            with urllib.request.urlopen(f"{url}/server_info", timeout=5):
                return True
        except (urllib.error.URLError, OSError) as error:
            if time.monotonic() > deadline:
                raise PatchlineError(
                    f"Dagster's webserver did not answer at {url} within {READY_SEC:.0f} s: {error}"
                ) from error
        time.sleep(POLL_SEC)
    return False


def _check_alive(services: Sequence[Service]) -> None:
    for service in services:
        code = service.process.poll()
        if code is not None:
            raise PatchlineError(
                f"Dagster's {service.name} ended with exit code {code}. The end of its log,"
                f" {service.log}:\n{service.tail()}"
            )


def _stop(services: Sequence[Service]) -> None:
    """End every process group: ask, wait, then kill what is left."""
    for service in services:
        _signal(service, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SEC
    while any(_is_there(service) for service in services) and time.monotonic() < deadline:
        time.sleep(POLL_SEC)
    for service in services:
        _signal(service, signal.SIGKILL)
        service.process.wait()


def _is_there(service: Service) -> bool:
    service.process.poll()  # a zombie of ours would count as a member of its group
    try:
        os.killpg(service.process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def _signal(service: Service, number: int) -> None:
    try:
        os.killpg(service.process.pid, number)
    except ProcessLookupError:
        return  # it has ended
