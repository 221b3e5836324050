"""Globs: what they match, and whether two of them can meet."""

import itertools
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pathspec import GitIgnoreSpec

from resources.globs import GlobError, Globs, literal_prefix, overlap

# Two globs of at most two segments each, either followed by a file beneath, meet within five
# segments if at all; and these names tell all the segments below apart.
NAMES = ("a", "b", "aa", "ab")
PATHS = tuple("/".join(p) for n in range(1, 6) for p in itertools.product(NAMES, repeat=n))

SEGMENTS = st.sampled_from(
    ("a", "b", "ab", "*", "a*", "*b", "?", "a?", "[ab]", "[!a]", "?[!b]", "**")
)


@st.composite
def globs(draw: st.DrawFn) -> str:
    """Draw a glob of one or two segments, perhaps anchored, perhaps for directories only."""
    segments = draw(st.lists(SEGMENTS, min_size=1, max_size=2))
    return draw(st.sampled_from(("", "/"))) + "/".join(segments) + draw(st.sampled_from(("", "/")))


@pytest.mark.parametrize(
    ("glob", "path", "covered"),
    [
        ("src/**", "src/a.py", True),
        ("src/**", "src/deep/a.py", True),
        ("src/**", "src", False),
        ("src/*.py", "src/a.py", True),
        ("src/*.py", "src/deep/a.py", False),
        ("src/?.py", "src/ab.py", False),
        ("*.py", "deep/down/a.py", True),
        ("/*.py", "deep/a.py", False),
        ("src/", "src/a.py", True),
        ("src/", "src", False),
        ("src", "src/deep/a.py", True),
        ("core/src", "other/core/src", False),
        ("**/conftest.py", "conftest.py", True),
        ("src/**/a.py", "src/a.py", True),
        ("src/**/a.py", "src/x/y/a.py", True),
        ("SRC/**", "src/a.py", False),
        ("[a-c].py", "b.py", True),
        ("[!a].py", "a.py", False),
        ("a[!b]c", "a/c", False),
        (r"app/\[id\].tsx", "app/[id].tsx", True),
        ("**/.env*", "line\nbreak/.env", True),
        ("**", "anything/at/all", True),
    ],
)
def test_a_glob_covers_what_gitignore_would(glob: str, path: str, covered: bool) -> None:
    assert Globs([glob]).matches(path) is covered


def test_a_set_of_globs_covers_what_any_of_them_covers() -> None:
    scope = Globs(["src/core/**", "docs/*.md"])
    assert scope.matches("docs/index.md")
    assert scope.matches("src/core/x.py")
    assert not scope.matches("src/web/x.py")
    assert not Globs([]).matches("src/core/x.py")


@pytest.mark.parametrize(
    ("glob", "problem"),
    [
        ("!src/**", "negation"),
        ("", "names nothing"),
        ("/", "names nothing"),
        ("#notes", "comment"),
        ("../other/**", "`..` segment"),
        ("./src/**", "`.` or"),
        ("src//a.py", "empty segment"),
        ("src\\core", "escapes nothing"),
        ("src/[", "plain set"),
        ("src/[[:alpha:]]", "plain set"),
        ("src/[z-a]", "not a range"),
        (" src/**", "spaces around"),
        ("src/\n", "spaces around"),
        ("a" * 1025, "1025 characters"),
    ],
)
def test_a_glob_with_no_plain_meaning_is_refused(glob: str, problem: str) -> None:
    with pytest.raises(GlobError) as caught:
        Globs([glob])
    assert problem in caught.value.problem
    assert caught.value.hint


@pytest.mark.parametrize(
    ("a", "b", "meet"),
    [
        ("src/", "src/a.py", True),
        ("src", "src/deep/**", True),
        ("src/core/**", "src/core/deep/*.py", True),
        ("src/core/**", "src/web/**", False),
        ("src/*.py", "src/deep/*.py", False),
        ("*.py", "docs/**", True),
        ("*.py", "docs/*.md", False),
        ("src/*.py", "src/a.py/b", False),
        ("src/x.*", "src/x.py", True),
        ("**/.aider*", ".aider.cache/notes.md", True),
        ("src/a*", "src/*b", True),
        ("src/[ab].py", "src/[bc].py", True),
        ("src/[ab].py", "src/[!ab].py", False),
        ("src/**/test_*.py", "src/core/**", True),
        ("**", "any/thing", True),
        ("Src/**", "src/**", False),
        ("a/**/z", "a/z", True),
    ],
)
def test_two_globs_meet_when_one_path_is_covered_by_both(a: str, b: str, meet: bool) -> None:
    assert overlap(a, b) is meet
    assert overlap(b, a) is meet


@settings(max_examples=300, deadline=None, derandomize=True)
@given(globs(), globs())
@example("**/", "a")
@example("*/", "/b")
@example("/**", "**/**")
def test_globs_overlap_exactly_when_a_witness_exists(a: str, b: str) -> None:
    one, two = Globs([a]), Globs([b])
    witness = next((p for p in PATHS if one.matches(p) and two.matches(p)), None)
    assert overlap(a, b) is (witness is not None), f"witness: {witness}"


@pytest.mark.parametrize(
    ("glob", "prefix"),
    [
        ("src/core/**", ("src", "core")),
        ("src/a.py", ("src", "a.py")),
        ("/top", ("top",)),
        ("any", ()),
        ("src/a*/x", ("src",)),
        ("src/[ab]/x", ("src",)),
        ("**/x", ()),
        (r"src/\[a\]", ("src", "[a]")),
    ],
)
def test_a_glob_begins_with_the_names_before_its_first_wildcard(
    glob: str, prefix: tuple[str, ...]
) -> None:
    assert literal_prefix(glob) == prefix


@settings(max_examples=300, deadline=None, derandomize=True)
@given(globs().filter(lambda glob: "!" not in glob), st.sampled_from(PATHS))
def test_globs_agree_with_pathspec(glob: str, path: str) -> None:
    assert Globs([glob]).matches(path) is GitIgnoreSpec.from_lines([glob]).match_file(path)


def test_a_long_chain_of_stars_is_decided_quickly() -> None:
    stars = "/".join(["**", "*a*"] * 60)
    assert overlap(stars, "/".join(["**", "*b*"] * 60))
    assert not overlap("/" + "a*" * 200 + "b/", "/" + "a*" * 200 + "[!b]/")


def test_globs_agree_with_git_itself(tmp_path: Path) -> None:
    paths = ["a", "b", "ab", "a/b", "b/a", "b/ab", "a/c", "c/a/b", "c/b/ba", "ab/a/b"]
    for glob in ("a", "/a", "a/", "a*", "*b", "/*b", "b/*", "c/**/b*", "**/b", "[!a]*", "c/[ab]/?"):
        found = subprocess.run(
            ["git", "-c", "core.excludesFile=/dev/null", "check-ignore", "--no-index", "--stdin"],
            input="\n".join(paths),
            text=True,
            capture_output=True,
            cwd=_repository_ignoring(tmp_path, glob),
            check=False,
        )
        ours = Globs([glob])
        assert [p for p in paths if ours.matches(p)] == found.stdout.split(), glob


def _repository_ignoring(folder: Path, glob: str) -> Path:
    """Make a git repository whose only ignore rule is this glob."""
    if not (folder / ".git").exists():
        subprocess.run(["git", "init", "-q", str(folder)], check=True, capture_output=True)
    (folder / ".gitignore").write_text(glob + "\n")
    return folder
