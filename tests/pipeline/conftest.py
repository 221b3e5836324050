"""A lab in a temporary folder; Dagster's own records are shared by the tests of one worker."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.migrations_once import read_dagsters_migrations_once
from tests.pipeline.lab import Lab

# Dagster's own code for nested resources does what pydantic and Dagster itself advise against.
DAGSTERS_OWN = (
    "ignore:The `__fields__` attribute is deprecated:pydantic.PydanticDeprecatedSince20",
    "ignore:InitResourceContext.dagster_run is deprecated:DeprecationWarning",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.filterwarnings(*DAGSTERS_OWN))


@pytest.fixture(scope="session")
def dagster_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    read_dagsters_migrations_once()
    return tmp_path_factory.mktemp("dagster")


@pytest.fixture
def lab(tmp_path: Path, dagster_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    made = Lab(tmp_path)
    monkeypatch.setenv("PATCHLINE_HOME", str(made.home.root))
    monkeypatch.setenv("DAGSTER_HOME", str(dagster_home))
    monkeypatch.delenv("PATCHLINE_DATABASE_URL", raising=False)
    yield made
    made.close()
