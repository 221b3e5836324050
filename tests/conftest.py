"""What holds for every test: no home, database or Dagster instance of the caller's is touched."""

import os

FOREIGN = ("PATCHLINE_HOME", "PATCHLINE_DATABASE_URL", "PATCHLINE_PLANS", "DAGSTER_HOME")

for name in FOREIGN:
    os.environ.pop(name, None)
os.environ["DAGSTER_DISABLE_TELEMETRY"] = "yes"
