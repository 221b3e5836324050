"""From a plan to Dagster jobs, and the command line."""
