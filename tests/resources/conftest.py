"""Scenes of runs in the middle of their work."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.resources.scene import Scenes


@pytest.fixture
def scenes(tmp_path: Path) -> Iterator[Scenes]:
    made = Scenes(tmp_path)
    yield made
    for scene in made.made:
        scene.store.close()
