"""The Dagster face of the lower rooms: thin resources over plain classes.

Opening one touches neither database nor git: both happen when an op first needs them.
Source: design section 1, "Dagster resources".
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field, PrivateAttr

from resources.commands.processes import DEFAULT_LIMITS, Limits
from resources.execution.session import RunSession
from resources.execution.stopping import stop_signal, uninterrupted
from resources.execution.workers import HEARTBEAT_SEC
from resources.git.repository import Repository
from resources.landing.turns import LEASE_SEC, SHORTEST_LEASE_SEC
from resources.rollback.manager import RollbackManager
from resources.specs import RunSpec
from state.home import Home
from state.store import StateStore


class StateMachineResource(dg.ConfigurableResource[Any]):
    """The Dagster face of `StateStore`: enforces the transition rules, writes the SSOT tables."""

    home: str = Field(description="The patchline home folder, absolute.")
    database_url: str | None = Field(
        default=None, description="SQLAlchemy URL of the state; the home's SQLite file by default."
    )
    _store: StateStore | None = PrivateAttr(default=None)
    _lock: threading.Lock = PrivateAttr(default_factory=threading.Lock)

    def place(self) -> Home:
        """The home as paths."""
        return Home.at(Path(self.home), self.database_url)

    def store(self) -> StateStore:
        """The store, opened at first use and closed with the run."""
        with self._lock:
            if self._store is None:
                self._store = StateStore.open(self.place().database_url, events=self.place().events)
            return self._store

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Close the store."""
        del context
        with self._lock:
            if self._store is not None:
                self._store.close()
                self._store = None


class GitRepositoryResource(dg.ConfigurableResource[Any]):
    """Opens the repository of a run through the git gateway."""

    home: str = Field(description="The patchline home, where our own git folders lie, absolute.")

    def open(self, path: str) -> Repository:
        """The repository at `path`. Raises PreflightError when there is none."""
        return Repository.open(Path(path), Path(self.home))


class WorkerPoolResource(dg.ConfigurableResource[Any]):
    """The workers and sandboxes of a run in this process."""

    heartbeat_sec: float = Field(
        default=HEARTBEAT_SEC, gt=0, description="Seconds between heartbeats of a busy worker."
    )
    lease_sec: float = Field(
        default=LEASE_SEC,
        ge=SHORTEST_LEASE_SEC,
        description="Seconds that the right to land on a branch outlives the last sign of life of "
        "its holder. One on this computer whose process is gone loses it at once.",
    )


class ProcessLimitsResource(dg.ConfigurableResource[Any]):
    """What holds for the processes of one kind."""

    output_bytes: int = Field(
        default=DEFAULT_LIMITS.output_bytes, gt=0, description="Bytes of output that are kept."
    )
    grace_sec: float = Field(
        default=DEFAULT_LIMITS.grace_sec,
        ge=0,
        description="Seconds between SIGTERM and SIGKILL of a process that must end.",
    )

    def limits(self) -> Limits:
        """The fields as the process runner takes them."""
        return Limits(self.output_bytes, self.grace_sec)


class ToolRunnerResource(ProcessLimitsResource):
    """Runs the tools of tasks."""


class GateRunnerResource(ProcessLimitsResource):
    """Runs the gates that judge patches and merges."""


class RollbackManagerResource(ProcessLimitsResource):
    """Takes back what has landed, and makes up for workstreams that failed."""

    def manager(self, session: RunSession) -> RollbackManager:
        """The manager of a run that is being executed."""
        return RollbackManager.of_session(session, self.limits())


class RunSessionResource(dg.ConfigurableResource[Any]):
    """What the ops of one run share in this process; made when the first op asks for it."""

    state: dg.ResourceDependency[StateMachineResource]
    git: dg.ResourceDependency[GitRepositoryResource]
    tools: dg.ResourceDependency[ToolRunnerResource]
    gates: dg.ResourceDependency[GateRunnerResource]
    workers: dg.ResourceDependency[WorkerPoolResource]
    _session: RunSession | None = PrivateAttr(default=None)
    _lock: threading.Lock = PrivateAttr(default_factory=threading.Lock)

    @contextmanager
    def yield_for_execution(
        self, context: dg.InitResourceContext
    ) -> Iterator["RunSessionResource"]:
        """Close the session when the run's execution in this process ends."""
        del context
        try:
            yield self
        finally:
            with self._lock:
                session, self._session = self._session, None
            if session is not None:
                with uninterrupted():
                    session.close()

    def session(
        self, dagster_run_id: str, describe: Callable[[], tuple[Any, RunSpec]]
    ) -> RunSession:
        """The session of the SSOT run that a Dagster run executes; every op asks for it.

        Args:
            dagster_run_id: the Dagster run.
            describe: the SSOT run's row and the plan it follows; asked once in a process.
        """
        with self._lock:
            if self._session is None:
                run, spec = describe()
                home = self.state.place()
                self._session = RunSession(
                    store=self.state.store(),
                    home=home,
                    repository=self.git.open(run.repo),
                    run_id=run.run_id,
                    spec=spec,
                    interrupted=stop_signal(dagster_run_id),
                    heartbeat_sec=self.workers.heartbeat_sec,
                    tool_limits=self.tools.limits(),
                    gate_limits=self.gates.limits(),
                    lease_sec=self.workers.lease_sec,
                )
            return self._session


def default_resources(home: Home | None = None) -> dict[str, Any]:
    """The resources of every patchline job, on the home that the environment names."""
    home = home or Home.find()
    state = StateMachineResource(home=str(home.root), database_url=_database_url(home))
    parts: dict[str, Any] = {
        "state": state,
        "git": GitRepositoryResource(home=str(home.root)),
        "tools": ToolRunnerResource(),
        "gates": GateRunnerResource(),
        "workers": WorkerPoolResource(),
    }
    session = RunSessionResource(**parts)
    return {**parts, "session": session, "rollback": RollbackManagerResource()}


def _database_url(home: Home) -> Any:
    """The database where it is not the home's own file; by reference, because the UI shows it."""
    if home.database_url == os.environ.get("PATCHLINE_DATABASE_URL"):
        return dg.EnvVar("PATCHLINE_DATABASE_URL")
    own = Home.at(home.root).database_url
    return None if home.database_url == own else home.database_url
