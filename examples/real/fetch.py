"""Fetch the pinned release of a real package with pip and make a git repository of it.

    python examples/real/fetch.py FOLDER

prints the path of the new repository. The download is checked against its pinned SHA-256 twice: by
pip before it looks inside, and here before it is unpacked.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

NAME = "sqlparse"
VERSION = "0.3.1"
SHA256 = "e162203737712307dfe78860cc56c8da8a852ab2ee33750e33aeadf38d12c548"
RELEASE = f"{NAME}-{VERSION}"
MAX_BYTES = 16 * 1024 * 1024
"""More than this, unpacked, is not the release we know."""

AUTHOR = {
    "GIT_AUTHOR_NAME": "sqlparse release",
    "GIT_AUTHOR_EMAIL": "release@sqlparse.invalid",
    "GIT_AUTHOR_DATE": "2020-02-28T00:00:00Z",
    "GIT_COMMITTER_NAME": "sqlparse release",
    "GIT_COMMITTER_EMAIL": "release@sqlparse.invalid",
    "GIT_COMMITTER_DATE": "2020-02-28T00:00:00Z",
}


class FetchError(Exception):
    """The release could not be had, or is not what was pinned."""


def git(folder: Path, *arguments: str) -> str:
    """Run git in the folder, deaf to the user's own configuration, and return what it prints."""
    result = subprocess.run(
        ["git", "-c", "core.autocrlf=false", "-c", "core.hooksPath=/dev/null", *arguments],
        cwd=folder,
        env={**os.environ, **AUTHOR, "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull},
        capture_output=True,
        text=True,
    )
    if result.returncode != 0:
        raise FetchError(f"git {' '.join(arguments)} failed in {folder}: {result.stderr.strip()}")
    return result.stdout


def python_with_pip() -> str:
    """A Python interpreter that has pip: a locked environment has none, the one below it does."""
    here = Path(sys.executable).parent
    folders = [folder for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    below = str(Path(sys.base_prefix) / "bin")
    others = os.pathsep.join([below, *(f for f in folders if Path(f) != here)])
    candidates = [sys.executable, shutil.which("python3", path=others)]
    for python in filter(None, candidates):
        if subprocess.run([python, "-m", "pip", "--version"], capture_output=True).returncode == 0:
            return python
    raise FetchError("no Python with pip found: install pip for python3")


def download(folder: Path) -> Path:
    """The release's source distribution in the folder, from the network only if it is not there."""
    archive = folder / f"{RELEASE}.tar.gz"
    if not archive.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as scratch:
            pins = Path(scratch) / "requirements.txt"
            pins.write_text(f"{NAME}=={VERSION} --hash=sha256:{SHA256}\n", encoding="utf-8")
            options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-binary=:all:"]
            command = [python_with_pip(), "-m", "pip", "download", *options, "--require-hashes"]
            command += ["--requirement", str(pins), "--dest", scratch]
            result = subprocess.run(command, capture_output=True, text=True)
            if result.returncode != 0:
                raise FetchError(f"pip could not download {RELEASE}: {result.stderr.strip()}")
            shutil.move(Path(scratch) / archive.name, archive)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if digest != SHA256:
        raise FetchError(f"{archive} has SHA-256 {digest}, not {SHA256}: delete it and try again")
    return archive


def unpack(archive: Path, folder: Path) -> None:
    """Unpack plain files and folders below the release's top folder; refuse anything else.

    Raises:
        FetchError: a link, a device, a path that leads outside, or too many bytes.
    """
    total = 0
    with tarfile.open(archive) as tar:
        for member in tar:
            path = PurePosixPath(member.name)
            if path.is_absolute() or ".." in path.parts or path.parts[:1] != (RELEASE,):
                raise FetchError(f"{archive.name} has a path outside of its folder: {member.name}")
            target = folder.joinpath(*path.parts[1:])
            if member.isdir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            content = tar.extractfile(member) if member.isreg() else None
            if content is None:
                raise FetchError(f"{archive.name} has something that is no file: {member.name}")
            total += member.size
            if total > MAX_BYTES:
                raise FetchError(f"{archive.name} holds more than {MAX_BYTES} bytes")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content.read())
            target.chmod(0o755 if member.mode & 0o100 else 0o644)


def new_repository(folder: Path) -> Path:
    """A fresh repository of the release under the folder; one commit, the same one every time."""
    archive = download(folder / "downloads")
    number = 1
    while (repository := folder / f"{RELEASE}-{number:02d}").exists():
        number += 1
    repository.mkdir(parents=True)
    unpack(archive, repository)
    git(repository, "init", "--quiet", "--initial-branch=main")
    git(repository, "add", "--all", "--force")
    git(repository, "commit", "--quiet", "--no-gpg-sign", "--message", f"{NAME} {VERSION}")
    git(repository, "tag", "--no-sign", "release")
    return repository


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} FOLDER")
    try:
        print(new_repository(Path(sys.argv[1]).resolve()))
    except FetchError as error:
        sys.exit(f"fetch: {error}")
