"""The code location that workspace.yaml names."""

import dagster as dg

from pipeline_defs.location import load_definitions, plans_folder
from state.home import Home


@dg.definitions
def defs() -> dg.Definitions:
    """Every job of every registered plan; a function, so that importing this loads nothing."""
    return load_definitions(Home.find(), plans_folder())
