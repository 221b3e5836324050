"""A patch that could not land on people's branch is not judged first."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from state.errors import PatchlineError
from tests.resources.landed import Landed


@pytest.fixture
def landed(tmp_path: Path) -> Iterator[Landed]:
    made = Landed(tmp_path)
    yield made
    made.store.close()


def test_a_rollback_that_a_file_is_in_the_way_of_runs_no_gate(landed: Landed) -> None:
    one = landed.patch("one", {"b.txt": None})
    landed.end()
    head = landed.box.head()
    (landed.box.path / "b.txt").write_text("mine\n")
    with pytest.raises(PatchlineError, match=r"untracked files in the way \(b\.txt\)"):
        landed.roll_back(one)
    (entry,) = [e for e in landed.store.find("patch_ledger") if e.ledger_id != one.ledger_id]
    assert (entry.state, landed.state(one)) == ("dropped", "committed")
    assert "untracked files in the way (b.txt)" in entry.failure_reason
    assert landed.store.find("test_gate") == []
    assert landed.box.head() == head
    assert (landed.box.path / "b.txt").read_text() == "mine\n"
