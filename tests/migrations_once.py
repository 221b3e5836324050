"""Dagster's migrations, which it would read again for each of its many small databases."""

from functools import cache

from alembic.config import Config
from alembic.script import ScriptDirectory


@cache
def read_dagsters_migrations_once() -> None:
    """Have Alembic keep in this process what it has read of them.

    A home has three databases of Dagster's and one more for each run. At each opening of each, all
    sixty migrations are read, only to learn the name of the newest: a third of a small run's time.
    """
    plain = ScriptDirectory.from_config
    read: dict[str, ScriptDirectory] = {}

    def from_config(config: Config) -> ScriptDirectory:
        location = config.get_main_option("script_location") or ""
        if not location.startswith("dagster:"):
            return plain(config)
        if location not in read:
            read[location] = plain(config)
        return read[location]

    ScriptDirectory.from_config = from_config  # type: ignore[method-assign]
