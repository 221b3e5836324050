"""Names that no patch may use; our view of `.git` in disguise against git's own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from resources.effects import ABSENT, Effect, printable
from resources.patch_policy.disguises import folded, stands_for
from resources.patch_policy.names import name_problems
from resources.patch_policy.reasons import Reason
from tests.resources.changes import Bench, changed, effect, verdict

# HFS+ ignores these (git's utf8.c).
IGNORED_BY_HFS = [
    *map(chr, (0x200C, 0x200D, 0x200E, 0x200F, 0xFEFF)),
    *map(chr, range(0x202A, 0x202F)),
    *map(chr, range(0x206A, 0x2070)),
]


def codes(path: str, created: bool = True) -> set[str]:
    return {reason.code for reason in name_problems(path, created)}


@pytest.mark.parametrize(
    "path",
    [
        *("a.py", "src/a b.py", ".github2", "src/.hidden", "a-b/c--d", "git", "git~", "dot.git"),
        *("caf\u00e9.txt", "cafe\u0301.txt", "\u65e5\u672c\u8a9e.md", "\U0001f600.png", "a~1.txt"),
        *(".gitkeep", ".gitignore", "src/.gitkeep", "console.py", "com.py", "auxiliary/nulls.c"),
        *(
            "a..b",
            "...a",
            "$HOME",
            "a;rm -rf b",
            "a&b",
            "a'b",
            "x#y",
            "(1)",
            "[id].tsx",
            "a@2x.png",
        ),
        *(
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645.md",
            "\u0647\u200d.\u0634.txt",
        ),  # Persian
        *("\u0915\u094d\u200d\u0937.txt", "\u09b0\u200d\u09cd\u09af.txt"),  # Hindi, Bengali
        *(
            "\u0d05\u0d35\u0d28\u0d4d\u200d.txt",
            "\u0dc1\u0dca\u200d\u0dbb\u0dd3.py",
        ),  # Malayalam, Sinhala
        *("\U0001f469\u200d\U0001f4bb.md", "\u2764\ufe0f.md", "1\ufe0f\u20e3.txt"),
        *("\u2764\ufe0f\u200d\U0001f525.md", "\U0001f937\U0001f3fd\u200d\u2640\ufe0f.md"),
    ],
)
def test_ordinary_names_are_fine(path: str) -> None:
    assert list(name_problems(path)) == []


GIT_DIRS = [
    *(".git", ".GIT", ".Git", ".gIt/config", "a/.git/hooks/x", "a/b/.git"),
    *(".git.", ".git ", ".git. . ", ".git...", "a/.git /x"),
    *("git~1", "GIT~1", "a/git~1/config", "git~1.", "git~2"),
    *(".git::$INDEX_ALLOCATION", ".git:x", ".git::$INDEX_ALLOCATION/config", ".git ::$DATA"),
    *("a\\.git\\config", ".git\\config", "a\\git~1"),
    *(".g\u200cit", "\u200d.git", ".git\ufeff", ".g\u206fi\u202at/config", ".\u2060git"),
    ".\uff47\uff49\uff54",
]


@pytest.mark.parametrize("path", GIT_DIRS)
def test_git_is_seen_in_every_disguise(path: str) -> None:
    assert "git_dir" in codes(path)
    assert "git_dir" in codes(path, created=False)
    assert ("git_dir", path) in verdict(changed(effect(path)))


@pytest.mark.parametrize(
    ("name", "special"),
    [
        (".gitmodules", ".gitmodules"),
        (".GitModules .", ".gitmodules"),
        ("gitmod~1", ".gitmodules"),
        ("GI7EBA~1", ".gitmodules"),
        ("gi7d29~2", ".gitattributes"),
        ("gitatt~4", ".gitattributes"),
        (".gitattri\u200cbutes:x", ".gitattributes"),
        ("gitign~1", ".gitignore"),
        (".mailmap", ".mailmap"),
        ("gitmodules", None),
        (".gitmodules.bak", None),
        ("gitmod~x", None),
        ("git-1", None),
    ],
)
def test_other_special_files_are_seen_in_disguise_too(name: str, special: str | None) -> None:
    assert stands_for(name) == special


@pytest.mark.parametrize(
    ("path", "code"),
    [
        *((path, "path_escape") for path in ("/etc/passwd", "../a", "a/../../b", "a/..", "..")),
        *(
            (path, "path_escape")
            for path in ("C:/x", "c:x", "\\\\host\\share", "//host/x", "..\\a")
        ),
        *((path, "path_escape") for path in ("a//b", "./a", "a/./b", "a/", "")),
        *((path, "path_characters") for path in ("a\nb", "a\tb", "a\x1b[31m", "a\x7f", "a\x00b")),
        *(
            (path, "path_characters")
            for path in ("a\u202egnp.py", "a\u2066b", "a\u200bb", "a\u00adb")
        ),
        *(
            (path, "path_characters")
            for path in ("a\u2028b", "a\ufe0fb", "a\u3164b", "a\U000e0041b")
        ),
        *(
            (path, "path_characters")
            for path in ("a\u200db", "\u200c\u062e", "\u062e\u200c", "\u062e\u200c\u200c\u062e")
        ),
        *(
            (path, "path_characters")
            for path in ("\u0661\u200c\u0662", "\u0915\u200c", "\u2764\u200d", "\u2764\ufe0f\ufe0f")
        ),
        *(
            (path, "path_characters")
            for path in ("conftest\u200d.py", "\u062e\u200b\u062e", "\u062e\u200e\u062e", "1\ufe0f")
        ),
        *((path, "path_characters") for path in ("-rf", "src/-x", " a", "a ", "a /b", "\u00a0a")),
        *((path, "path_characters") for path in ("x" * 256, "\u65e5" * 86, "abc/" * 1100 + "x")),
        *((path, "windows_name") for path in ("con", "NUL", "aux.c", "a/COM1", "lpt9.txt", "PRN ")),
        *(
            (path, "windows_name")
            for path in ("com\u00b9", "CONIN$", "nul.tar.gz", "nul:x", "con .x")
        ),
        *((path, "windows_name") for path in ("a.", "a ", "dir./x", "a<b", "a>b", "ab:c", 'a"b')),
        *((path, "windows_name") for path in ("a|b", "a?", "*", "a\\b")),
    ],
)
def test_each_kind_of_bad_name_has_its_code(path: str, code: str) -> None:
    assert code in codes(path)


@pytest.mark.parametrize("path", ["aux.c", "-x", "a?b", " a", "a.", "a\nb", "\u202ea"])
def test_a_file_with_a_name_that_is_only_awkward_may_be_changed(path: str) -> None:
    assert codes(path)
    assert codes(path, created=False) == set()
    assert verdict(changed(effect(path))) == []
    assert verdict(changed(effect(path, new=ABSENT))) == []


def test_a_name_that_is_no_text_is_refused_with_its_bytes_spelled_out() -> None:
    name = b"caf\xe9.txt".decode("utf-8", "surrogateescape")
    assert (
        list(name_problems(name))
        == list(name_problems(name, created=False))
        == [Reason("path_characters", r"caf\xe9.txt is not valid UTF-8", r"caf\xe9.txt")]
    )
    assert effect(name).to_json()["path"] == r"caf\xe9.txt"


def test_a_reason_keeps_the_path_and_shows_it_safely() -> None:
    (reason,) = name_problems("a\x1b[31m\u202eb")
    assert reason.path == "a\x1b[31m\u202eb"
    assert r"a\x1b[31m\u202eb" in reason.message
    assert reason.message.isprintable()


# -- against git, and for all names --------------------------------------------------------------

PIECES = st.sampled_from(
    [
        *(".", "g", "i", "t", "G", "T", ".git", "git", "~1", "~", "1", " ", ":", "\\", "$", "a"),
        *("::$INDEX_ALLOCATION", "/", "/", "..", "gi7eba", "modules", *IGNORED_BY_HFS),
    ]
)
NAMES = st.lists(PIECES, min_size=1, max_size=8).map("".join)
DISGUISED = st.tuples(
    *(
        st.sampled_from([*spellings, *(i + s for i in IGNORED_BY_HFS for s in spellings)])
        for spellings in (".", "gG", "iI", "tT")
    ),
    st.sampled_from(["", *IGNORED_BY_HFS, ".", " ", ". .", ":x", "\\x"]),
).map("".join)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench.in_folder(tmp_path_factory.mktemp("names"))


def refused_by_git(bench: Bench, scratch: Path, paths: list[str]) -> Iterator[str]:
    """Those of the paths that git takes for `.git`, or for no path in a repository.

    Git resolves `..` before it judges what it was told by hand; such paths are left out here.
    """
    paths = [path for path in paths if ".." not in path.split("/") and path[:1] != "/"]
    done = bench.repository.on_objects(
        *("update-index", "--remove", "-z", "--stdin"),
        index=scratch / "index",
        work_tree=scratch,
        stdin="\0".join(paths).encode(),
    )
    told = done.stderr.decode().splitlines()
    return (line.removeprefix("Ignoring path ") for line in told if line.startswith("Ignoring"))


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(NAMES | DISGUISED, min_size=20, max_size=60, unique=True))
def test_whatever_git_takes_for_its_own_we_refuse(
    bench: Bench, tmp_path: Path, paths: list[str]
) -> None:
    for path in refused_by_git(bench, tmp_path, paths):
        assert codes(path, created=False) & {"git_dir", "path_escape"}, ascii(path)


def test_git_is_asked_in_earnest(bench: Bench, tmp_path: Path) -> None:
    refused = set(
        refused_by_git(bench, tmp_path, [".git", "a/.GIT/x", "git~1", ".g\u200cit", "ok"])
    )
    assert refused == {".git", "a/.GIT/x", "git~1", ".g\u200cit"}


@given(st.text(st.characters(exclude_categories=()), max_size=40))
def test_the_rules_are_total_and_tell_only_what_can_be_shown(path: str) -> None:
    assume(not any("\ud800" <= c <= "\udbff" or "\udd00" <= c <= "\udfff" for c in path))
    assume(not any("\udc00" <= c <= "\udc7f" for c in path))
    for reason in name_problems(path):
        reason.message.encode()
        assert not any(ord(c) < 32 or c in "\u202e\u200b\ufeff" for c in reason.message)
        assert reason.path is not None
        reason.path.encode()
    assert folded(folded(path)) == folded(path)
    assert printable(printable(path)) == printable(path)


@given(st.text(max_size=20), st.sampled_from(["/", "\\"]), st.sampled_from([".git", "GIT~1", ".."]))
def test_no_surroundings_hide_a_bad_component(start: str, separator: str, bad: str) -> None:
    path = f"{start}{separator}{bad}{separator}x"
    assert codes(path, created=False) & {"git_dir", "path_escape"}


@given(
    st.text("aA\u00e9\u0301\u00dfs", min_size=1, max_size=4),
    st.text("aA\u00e9\u0301\u00dfs", min_size=1, max_size=4),
)
def test_two_new_names_collide_exactly_when_they_fold_to_the_same(one: str, other: str) -> None:
    assume(one != other)
    found = {code for code, _ in verdict(changed(_new(one), _new(other)))}
    assert ("path_collision" in found) == (folded(one) == folded(other))


def _new(path: str) -> Effect:
    return effect(path, ABSENT)
