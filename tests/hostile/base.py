"""The repository that the corpus is judged against: one commit with something of every kind."""

import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.resources.gitbox import git

FILE, PROGRAM, LINK, SUBMODULE = "100644", "100755", "120000", "160000"
SUBPROJECT = "5" * 40
BULK = 60
NFC, NFD = "docs/caf\u00e9.txt", "docs/cafe\u0301.txt"


@dataclass(frozen=True)
class File:
    """A file of a tree: its mode, and its bytes (a link's target, a submodule's commit)."""

    mode: str
    data: bytes


def lines(count: int, word: str = "line") -> bytes:
    """So many different lines."""
    return b"".join(b"%s %d\n" % (word.encode(), number) for number in range(1, count + 1))


def pseudo_random(size: int) -> bytes:
    """Bytes without a pattern, always the same; with NULs, as in any binary file."""
    state, made = 1, bytearray()
    while len(made) < size:
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        made += state.to_bytes(8, "big") + b"\0"
    return bytes(made[:size])


TEST = b"""\
from app import double


def test_double():
    assert double(2) == 4


def test_nothing():
    assert double(0) == 0
"""

_TEXTS: Mapping[str, bytes] = {
    ".gitattributes": b"*.blob diff\n*.hid -diff\n",
    ".github/workflows/ci.yml": b"on: push\njobs: {}\n",
    ".gitmodules": b'[submodule "lib"]\n\tpath = vendor/lib\n\turl = https://example.org/lib\n',
    "Makefile": b"test:\n\tpytest -q\n",
    "README.md": b"# Sample\n\nSome words.\n",
    "attributes.txt": b"*.py filter=evil\n",
    "a.txt": b"alpha\nbeta\ngamma\ndelta\n",
    "b.txt": b"one\ntwo\nthree\nfour\n",
    "crlf.txt": b"one\r\ntwo\r\nthree\r\nfour\r\nfive\r\n",
    "data.blob": b"text for now\n",
    "docs/guide.md": lines(40, "Guide"),
    NFC: b"au lait\n",
    "long.txt": lines(300),
    "noeol.txt": b"first\nlast",
    "notes.hid": b"plain words\nthat git calls binary\n",
    "package.json": b'{"scripts": {"test": "jest"}}\n',
    "pyproject.toml": b"[tool.pytest.ini_options]\ntestpaths = ['tests']\n",
    "query.sql": b"-- a/b.txt\n++ b/b.txt\nselect 1;\nselect 2;\n",
    "settings.py": b"DEBUG = False\nNAME = 'sample'\n",
    "src/app.py": b"def double(x):\n    return 2 * x\n\n\ndef half(x):\n    return x / 2\n",
    "src/deep/er/mod.py": b"VALUE = 1\nOTHER = 2\n",
    "src/util.py": b"import os\n\n\ndef here():\n    return os.getcwd()\n",
    "src/widget_test.go": b"package widget\n\nfunc TestOne(t *testing.T) {}\n",
    "tests/conftest.py": b"import pytest\n",
    "tests/helpers.py": b"from tests import paths\n\n\ndef helped():\n    return paths\n",
    "tests/test_app.py": TEST,
    "tests/test_later.py": b"\n",
    "tests/test_util.py": b"def test_here():\n    assert True\n",
    "tests/unit/__init__.py": b'"""Tests of single functions."""\n',
    "web/app.test.js": b"test('one', () => {\n  expect(1).toBe(1);\n});\n",
    "with space.txt": b"a name with a blank\n",
    "\u00fcberblick.md": b"Text.\n",
    **{f"bulk/f{number:02}.txt": b"bulk %d\n" % number for number in range(BULK)},
}

BASE: Mapping[str, File] = {
    **{path: File(FILE, data) for path, data in _TEXTS.items()},
    "bin/run.sh": File(PROGRAM, b"#!/bin/sh\nexec true\n"),
    "assets/logo.png": File(FILE, b"\x89PNG\r\n\x1a\n" + pseudo_random(200)),
    "assets/large.bin": File(FILE, pseudo_random(65536)),
    "link": File(LINK, b"a.txt"),
    "docs/up": File(LINK, b".."),
    "docs/to-a": File(LINK, b"../a.txt"),
    "folder": File(LINK, b"src"),
    "via": File(LINK, b"folder/../b.txt"),
    "vendor/lib": File(SUBMODULE, SUBPROJECT.encode()),
}
"""Every tracked path of the base."""


def make_base(folder: Path) -> str:
    """Make the repository, checked out as a person has it; its commit."""
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    stream = b"".join(_stream())
    done = subprocess.run(
        ["git", "fast-import", "--quiet"], cwd=folder, input=stream, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    git(folder, "reset", "-q", "--hard", "main")
    return git(folder, "rev-parse", "main")


def _stream() -> Iterator[bytes]:
    yield b"commit refs/heads/main\ncommitter ann <ann@localhost> 1700000000 +0000\n"
    yield b"data 4\nbase\n"
    for path, file in BASE.items():
        if file.mode == SUBMODULE:
            yield f"M {file.mode} {SUBPROJECT} {path}\n".encode()
        else:
            yield f"M {file.mode} inline {path}\ndata {len(file.data)}\n".encode()
            yield file.data + b"\n"
