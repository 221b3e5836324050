"""Sample projects: every run begins on a copy that no other has begun on."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline_defs.samples import MARKER, sample_repository
from state.home import Home
from tests.pipeline.lab import git, make_repository, write

ROOT = Path(__file__).parents[2]
TAKE = (
    "import sys; from pathlib import Path; from pipeline_defs.samples import sample_repository; "
    "from state.home import Home; "
    "print(sample_repository(Home.at(Path(sys.argv[1])), Path(sys.argv[2])), flush=True); "
    "sys.stdin.read()"
)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.at(tmp_path / "home")


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    write(tmp_path / "shop", {"a.txt": "a\n", MARKER: ""})
    return tmp_path / "shop"


def test_a_folder_without_the_mark_is_taken_as_it_is(home: Home, tmp_path: Path) -> None:
    folder = make_repository(tmp_path / "mine")
    assert sample_repository(home, folder) == folder


def test_a_copy_on_which_a_run_has_begun_is_not_used_again(home: Home, sample: Path) -> None:
    first = sample_repository(home, sample)
    assert sample_repository(home, sample) == first, "nothing has happened on it yet"
    git(first, "branch", "patchline/run_1/core")
    second = sample_repository(home, sample)
    assert (first.name, second.name) == ("shop", "shop-2")
    git(second, "commit", "-q", "--allow-empty", "-m", "landed")
    assert sample_repository(home, sample).name == "shop-3"


def test_two_processes_that_start_together_get_different_copies(home: Home, sample: Path) -> None:
    command = [sys.executable, "-c", TAKE, str(home.root), str(sample)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as other:
        assert other.stdout
        taken = Path(other.stdout.readline().strip())
        assert sample_repository(home, sample) != taken
        other.communicate("")
    assert taken.name == "shop"
