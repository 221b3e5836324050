"""DAGSTER_HOME inside the patchline home: where runs of the command line and of the UI meet.

A DAGSTER_HOME of the caller's is another Dagster's: `patchline run` and `patchline dev` neither
read nor write it. Source: design section 2, "Home".
"""

import os
from pathlib import Path

import dagster as dg

from state.home import Home
from state.whole_files import write_whole

SETTINGS = """\
# Dagster's instance settings for a patchline home; `patchline run` and `patchline dev` copy this
# file to $PATCHLINE_HOME/dagster when there is none.
telemetry:
  enabled: false
nux:
  enabled: false
concurrency:
  runs:
    max_concurrent_runs: 10
  pools:
    granularity: op
run_monitoring:
  enabled: true
  free_slots_after_run_end_seconds: 60
run_retries:
  enabled: false
"""
"""The content of the repository's `dagster.yaml`, so that an installed patchline has it too."""


def prepare_dagster_home(home: Home) -> Path:
    """Make the folder with its settings, and point this process and its children at it."""
    home.create()
    folder = home.dagster.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    settings = folder / "dagster.yaml"
    if not settings.exists():
        write_whole(settings, SETTINGS.encode())
    os.environ["DAGSTER_HOME"] = str(folder)
    os.environ["PATCHLINE_HOME"] = str(home.root)
    return folder


def dagster_instance(home: Home) -> dg.DagsterInstance:
    """The Dagster instance of a patchline home."""
    prepare_dagster_home(home)
    return dg.DagsterInstance.get()
