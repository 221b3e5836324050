"""A repository, a store, and scenes of runs in the middle of their work."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from state.clock_and_ids import SequentialIds
from state.store import StateStore
from tests.resources.anchoring import opened
from tests.resources.gitbox import GitBox
from tests.resources.scene import Scenes


@pytest.fixture
def box(tmp_path: Path) -> GitBox:
    return GitBox(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    """A store with a clock that stands still and ids that count."""
    with opened(tmp_path, SequentialIds()) as store:
        yield store


@pytest.fixture
def scenes(tmp_path: Path) -> Iterator[Scenes]:
    made = Scenes(tmp_path)
    yield made
    for scene in made.made:
        scene.store.close()
