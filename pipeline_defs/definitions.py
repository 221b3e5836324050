"""The code location that workspace.yaml names. Importing this module loads it."""

from pipeline_defs.location import load_definitions, plans_folder
from state.home import Home

defs = load_definitions(Home.find(), plans_folder())
