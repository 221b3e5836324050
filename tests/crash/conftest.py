"""One folder for each process of the tests: what scenarios begin with is made once in it."""

import pytest

from tests.crash.arena import Arena
from tests.crash.crashing import Crashes


@pytest.fixture(scope="session")
def crashes(tmp_path_factory: pytest.TempPathFactory) -> Crashes:
    return Crashes(Arena(tmp_path_factory.mktemp("crash")))
