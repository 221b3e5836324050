"""A Dagster deployment as users have it: webserver and daemon on a home, spoken to over GraphQL."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pipeline_defs.dagster_home import SETTINGS

HOUSE = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
PATIENCE = 60.0
"""Seconds until something that should happen is taken as never happening."""
PAUSE = 0.1
EAGER = "run_queue:\n  dequeue_interval_seconds: 1\n"
"""Launched runs begin after a second, and not after five."""
PORTS, PORT_STRIDE = range(20_000, 30_000), 37
T = TypeVar("T")
REPOSITORY = {"repositoryName": "__repository__", "repositoryLocationName": "patchline"}
ENDED = {"SUCCESS", "FAILURE", "CANCELED"}


def environment(home: Path, plans: Path) -> dict[str, str]:
    """The environment of every process on a home."""
    return os.environ | {
        "PATCHLINE_HOME": str(home),
        "PATCHLINE_PLANS": str(plans),
        "DAGSTER_HOME": str(home / "dagster"),
        "DAGSTER_DISABLE_TELEMETRY": "yes",
        "PYTHONPATH": str(HOUSE),
    }


def wait_for(what: str, look: Callable[[], T | None], patience: float = PATIENCE) -> T:
    """The first thing that `look` finds, tried again and again until the patience ends."""
    deadline = time.monotonic() + patience
    while (found := look()) is None:
        assert time.monotonic() < deadline, f"waited {patience:g} s in vain for {what}"
        time.sleep(PAUSE)
    return found


def free_port() -> int:
    """A loopback port that nobody listens on, and that the system gives to nobody by itself.

    Below the range of ephemeral ports, because code servers and connections of other tests draw
    from that one between our look and the webserver's start. Each process begins elsewhere.
    """
    for offset in range(len(PORTS)):
        port = PORTS[(os.getpid() * PORT_STRIDE + offset) % len(PORTS)]
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise AssertionError(f"no free port in {PORTS}")


class Deployment:
    """The running processes and their GraphQL interface.

    Args:
        home: the patchline home; made when it is missing.
        plans: the folder of plans that the code location loads.
    """

    def __init__(self, home: Path, plans: Path) -> None:
        self.home, self.plans, self.port = home, plans, free_port()
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def url(self) -> str:
        """Address of the webserver."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start both processes; returns when the webserver has loaded the code location."""
        settings = self.home / "dagster" / "dagster.yaml"
        settings.parent.mkdir(parents=True, exist_ok=True)
        settings.write_text(SETTINGS + EAGER, encoding="utf-8")
        workspace = ["-w", str(HOUSE / "workspace.yaml")]
        port = ["-h", "127.0.0.1", "-p", str(self.port)]
        self._start("webserver", [str(BIN / "dagster-webserver"), *workspace, *port])
        # One after the other: both would make the tables of a new Dagster home.
        wait_for("the webserver", self._loaded)
        self._start("daemon", [str(BIN / "dagster-daemon"), "run", *workspace])

    def stop(self) -> None:
        """Ask both processes to end, and wait until they have."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(PATIENCE)

    def query(self, text: str, **variables: Any) -> dict[str, Any]:
        """The data that GraphQL answers; fails with its errors."""
        body = json.dumps({"query": text, "variables": variables}).encode()
        request = urllib.request.Request(
            f"{self.url}/graphql", body, {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                said = json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"GraphQL refused: {error.read().decode()}") from error
        assert "errors" not in said, said["errors"]
        return said["data"]

    def launch(self, job: str, config: Mapping[str, Any] | None = None) -> str:
        """Launch a job as the UI's button does; its Dagster run id."""
        params = {"selector": {**REPOSITORY, "jobName": job}, "runConfigData": config or {}}
        answer = self.query(LAUNCH, params=params)["launchRun"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return answer["run"]["runId"]

    def run(self, run_id: str) -> dict[str, Any]:
        """Status, tags and origin of a Dagster run."""
        return self.query(RUN, id=run_id)["runOrError"]

    def wait(self, run_id: str) -> str:
        """The status with which a run ends."""

        def ended() -> str | None:
            status = self.run(run_id)["status"]
            return status if status in ENDED else None

        return wait_for(f"the end of {run_id}", ended)

    def problems(self, run_id: str) -> list[str]:
        """What a run's steps failed with."""
        logs = self.query(FAILURES, id=run_id)["logsForRun"]["events"]
        return [event["error"]["message"] for event in logs if event.get("error")]

    def _start(self, name: str, command: list[str]) -> None:
        with (self.home / f"{name}.log").open("wb") as log:
            env = environment(self.home, self.plans)
            process = subprocess.Popen(command, env=env, cwd=self.home, stdout=log, stderr=log)
        self._processes.append(process)

    def _said(self) -> str:
        return "\n".join(log.read_text(encoding="utf-8") for log in self.home.glob("*.log"))

    def _loaded(self) -> bool | None:
        for process in self._processes:
            assert process.poll() is None, f"{process.args} ended at once:\n{self._said()}"
        try:
            located = self.query(LOCATIONS)["workspaceOrError"]["locationEntries"]
        except (urllib.error.URLError, ConnectionError):
            return None
        for entry in located:
            state = entry["locationOrLoadError"]
            assert state is None or state["__typename"] == "RepositoryLocation", state
        return True if located and located[0]["locationOrLoadError"] else None


LAUNCH = """
mutation($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}"""
RUN = """
query($id: ID!) {
  runOrError(runId: $id) {
    ... on Run {
      runId status jobName canTerminate
      tags { key value }
      repositoryOrigin { repositoryName repositoryLocationName }
    }
  }
}"""
FAILURES = """
query($id: ID!) {
  logsForRun(runId: $id) {
    ... on EventConnection {
      events { ... on ExecutionStepFailureEvent { stepKey error { message } } }
    }
  }
}"""
LOCATIONS = """
{
  workspaceOrError {
    ... on Workspace {
      locationEntries { locationOrLoadError { __typename ... on PythonError { message } } }
    }
  }
}"""
