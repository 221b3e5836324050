"""What `examples/real/fetch.py` accepts and makes, without the network."""

import hashlib
import importlib.util
import io
import sys
import tarfile
from pathlib import Path
from types import ModuleType

import pytest

FETCH = Path(__file__).parents[2] / "examples" / "real" / "fetch.py"


@pytest.fixture
def fetch(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module of its own."""
    spec = importlib.util.spec_from_file_location("examples_real_fetch", FETCH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    spec.loader.exec_module(module)
    return module


def archive_of(path: Path, members: dict[str, bytes | None], mode: int = 0o644) -> Path:
    """A tar archive; a member without content is a symbolic link to /etc/passwd."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.mode = mode
            if content is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            else:
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content) if content is not None else None)
    return path


@pytest.mark.parametrize("name", ["/etc/x", "sqlparse-0.3.1/../../x", "other/x"])
def test_a_path_that_leads_outside_is_refused(fetch: ModuleType, tmp_path: Path, name: str) -> None:
    archive = archive_of(tmp_path / "a.tar.gz", {name: b"x"})
    with pytest.raises(fetch.FetchError, match="outside of its folder"):
        fetch.unpack(archive, tmp_path / "out")


def test_a_link_is_refused(fetch: ModuleType, tmp_path: Path) -> None:
    archive = archive_of(tmp_path / "a.tar.gz", {"sqlparse-0.3.1/x": None})
    with pytest.raises(fetch.FetchError, match="no file"):
        fetch.unpack(archive, tmp_path / "out")


def test_a_download_that_is_not_the_pinned_one_is_refused(
    fetch: ModuleType, tmp_path: Path
) -> None:
    archive_of(tmp_path / "sqlparse-0.3.1.tar.gz", {"sqlparse-0.3.1/x": b"x"})
    with pytest.raises(fetch.FetchError, match="SHA-256"):
        fetch.download(tmp_path)


def test_every_repository_of_the_release_starts_from_the_same_commit(
    fetch: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "downloads").mkdir()
    archive = archive_of(
        tmp_path / "downloads" / "sqlparse-0.3.1.tar.gz",
        {"sqlparse-0.3.1/run.py": b"print()\n", "sqlparse-0.3.1/.gitignore": b"*.py\n"},
        mode=0o755,
    )
    monkeypatch.setattr(fetch, "SHA256", hashlib.sha256(archive.read_bytes()).hexdigest())
    first, second = fetch.new_repository(tmp_path), fetch.new_repository(tmp_path)
    assert first != second
    heads = {fetch.git(path, "rev-parse", "main") for path in (first, second)}
    assert len(heads) == 1
    assert fetch.git(first, "ls-files", "--stage", "run.py").startswith("100755 ")
    assert fetch.git(first, "status", "--porcelain") == ""


def test_a_git_command_that_fails_says_which_and_why(fetch: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(fetch.FetchError, match="git rev-parse nowhere failed"):
        fetch.git(tmp_path, "rev-parse", "nowhere")
