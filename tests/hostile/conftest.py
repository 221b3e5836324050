"""The scenery that hostile patches are judged in, one for all tests of a worker."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from resources.git.command import caller_environment
from tests.hostile.scenery import Scenery
from tests.pipeline.conftest import DAGSTERS_OWN, dagster_home, lab

__all__ = ["dagster_home", "lab"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.filterwarnings(*DAGSTERS_OWN))


@pytest.fixture(scope="session")
def built_scenery(tmp_path_factory: pytest.TempPathFactory) -> Scenery:
    return Scenery.make(tmp_path_factory.mktemp("hostile") / "all")


@pytest.fixture
def scenery(built_scenery: Scenery, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scenery]:
    """The scenery, entered: HOME, the current folder and temporary files are inside."""
    folder = built_scenery.folder
    monkeypatch.setenv("HOME", str(folder / "user"))
    monkeypatch.setenv("PATCHLINE_HOME", str(folder / "home"))
    monkeypatch.setenv("TMPDIR", str(built_scenery.temporary))
    monkeypatch.setattr(tempfile, "tempdir", str(built_scenery.temporary))
    monkeypatch.chdir(folder / "here")
    caller_environment.cache_clear()
    yield built_scenery
    caller_environment.cache_clear()
