"""Fixtures of the command line's tests."""

from pathlib import Path

import pytest

from tests.cli.shell import Shell


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A folder of one's own with a repository of one commit."""
    shell = Shell(tmp_path)
    shell.make_repo()
    return shell
