"""Pairs of random trees, written into a repository in one go, and `git diff` between them."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

from hypothesis import strategies as st

Tree = Mapping[str, tuple[str, bytes]]
"""Mode and content by path."""

AWKWARD = ["a", "b c", "é", "日本", 'q"q', "t\tt", "n\nn", "back\\slash", "-dash", " lead", "b/b"]
WORDS = st.sampled_from(
    ["one", "two", "three", "", "é", "+plus", "-- minus", "@@ -1 +1 @@", "\\ x"]
)
_LINES = st.lists(WORDS, max_size=12)


def _content(lines: list[str], ending: str, ended: bool) -> bytes:
    text = ending.join(lines)
    return (text + ending if ended and lines else text).encode()


CONTENTS = st.one_of(
    st.builds(_content, _LINES, st.sampled_from(["\n", "\r\n"]), st.booleans()),
    st.binary(max_size=60).map(lambda data: b"\0" + data),
)
FILES = st.tuples(st.sampled_from(["100644", "100755", "120000"]), CONTENTS)
PATHS = st.lists(st.sampled_from(AWKWARD), min_size=1, max_size=2).map("/".join)


@st.composite
def tree_pairs(draw: st.DrawFn) -> tuple[Tree, Tree]:
    """A tree and what became of it: some files changed, moved, copied, gone, new."""
    old = _without_clashes(draw(st.dictionaries(PATHS, FILES, max_size=6)))
    new = dict(old)
    for path in list(old):
        mode, content = old[path]
        match draw(st.sampled_from(["keep", "keep", "edit", "drop", "move", "copy", "mode"])):
            case "edit":
                new[path] = (mode, draw(CONTENTS))
            case "drop":
                del new[path]
            case "move":
                del new[path]
                new[draw(PATHS)] = (mode, content)
            case "copy":
                new[draw(PATHS)] = (mode, content)
            case "mode":
                new[path] = (draw(st.sampled_from(["100644", "100755", "120000"])), content)
            case _:
                pass
    new |= draw(st.dictionaries(PATHS, FILES, max_size=2))
    return old, _without_clashes(new)


def _without_clashes(tree: Tree) -> Tree:
    """The tree without files that lie where others need a folder; git has no empty link."""
    folders = {p.rsplit("/", n)[0] for p in tree for n in range(1, p.count("/") + 1)}
    kept = {path: file for path, file in tree.items() if path not in folders}
    for path, (mode, content) in kept.items():
        if mode == "120000" and (not content or b"\0" in content):
            kept[path] = ("100644", content)
    return kept


def write_trees(repository: Path, *trees: Tree) -> list[str]:
    """Commit each tree on a history of its own; the commits' ids."""
    stream = bytearray()
    for number, tree in enumerate(trees):
        stream += b"commit refs/heads/random-%d\ncommitter a <a@b> 0 +0000\ndata 0\n" % number
        stream += b"deleteall\n"
        for path, (mode, content) in tree.items():
            stream += f"M {mode} inline {_quoted(path)}\n".encode()
            stream += b"data %d\n" % len(content) + content + b"\n"
    for number, _ in enumerate(trees):
        _git(repository, "update-ref", "-d", f"refs/heads/random-{number}")
    _git(repository, "fast-import", "--quiet", "--force", stdin=bytes(stream))
    names = [f"refs/heads/random-{number}" for number, _ in enumerate(trees)]
    return _git(repository, "rev-parse", *names).decode().split()


def git_diff(repository: Path, old: str, new: str, *options: str, quote: bool = True) -> bytes:
    """What `git diff` prints for a person."""
    setting = f"core.quotePath={'true' if quote else 'false'}"
    return _git(repository, "-c", setting, "diff", "--no-ext-diff", *options, old, new)


def _quoted(path: str) -> str:
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return '"' + escaped.replace("\t", "\\t") + '"'


def _git(repository: Path, *args: str, stdin: bytes = b"") -> bytes:
    done = subprocess.run(["git", *args], cwd=repository, input=stdin, capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout
