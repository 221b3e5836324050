"""The judge of effects, over plain data: places, kinds, amounts; every reason by code and path."""

from typing import Any

import pytest

from resources.effects import (
    ABSENT,
    EXECUTABLE,
    REGULAR,
    SUBMODULE,
    SYMLINK,
    Effect,
    KnownFiles,
    TrackedFile,
)
from resources.patch_policy import PROTECTED_BY_DEFAULT, Scope
from resources.specs import PolicySpec
from tests.resources.changes import changed, effect, tracked, verdict

EVERYTHING: dict[str, Any] = {
    f"allow_{what}": True for what in ("symlinks", "exec", "binary", "test_removal")
} | {"allow_protected": ["**"]}


def judged(
    *effects: Effect, scope: Scope | None = None, files: KnownFiles | None = None, **policy: Any
) -> list[tuple[str, str]]:
    change = changed(*effects) if files is None else changed(*effects, files=files)
    return verdict(change, scope, **policy)


def test_an_ordinary_change_is_accepted() -> None:
    kept = effect("src/a.py"), effect("new.py", ABSENT), effect("old.py", new=ABSENT)
    assert judged(*kept) == []


def test_a_patch_without_effects_is_empty() -> None:
    assert judged() == [("empty", "")]


@pytest.mark.parametrize(
    ("one", "code", "permission"),
    [
        (effect("run", REGULAR, EXECUTABLE), "mode", {"allow_exec": True}),
        (effect("run", EXECUTABLE, REGULAR), "mode", {"allow_exec": True}),
        (effect("run", ABSENT, EXECUTABLE), "mode", {"allow_exec": True}),
        (effect("tests/test_a.py", new=ABSENT), "deletion", {"allow_test_removal": True}),
        (effect("Makefile"), "protected", {"allow_protected": ["Makefile"]}),
        (effect("sub/Makefile"), "protected", {"allow_protected": ["Makefile"]}),
        (effect("makefile"), "protected", {"allow_protected": ["makefile"]}),
        (effect(".github/workflows/x", ABSENT), "protected", {"allow_protected": [".github/**"]}),
        (effect(".GitHub/workflows/x"), "protected", {"allow_protected": [".GitHub/**"]}),
        (effect("a/.env.local", ABSENT), "protected", {"allow_protected": ["**/.env*"]}),
        (effect("gitmod~1"), "protected", {"allow_protected": ["gitmod~1"]}),
        (effect(".gitmodules. .", REGULAR), "protected", {"allow_protected": [".gitmodules*"]}),
    ],
)
def test_some_changes_need_the_plans_permission(
    one: Effect, code: str, permission: dict[str, Any]
) -> None:
    assert judged(one) == [(code, one.path)]
    assert judged(one, **permission) == []


@pytest.mark.parametrize("pattern", PROTECTED_BY_DEFAULT)
def test_what_decides_about_gates_is_protected(pattern: str) -> None:
    path = pattern.replace("/**", "/x").replace("**/", "deep/er/").replace("*", "any")
    policy: Any = {"allow_test_removal": True}
    for spelled in (path, path.swapcase()):
        assert ("protected", spelled) in judged(effect(spelled), **policy)
        assert judged(effect(f"x{spelled}x".replace("/", "-")), **policy) == []


@pytest.mark.parametrize("mode", [SUBMODULE, "100664", "104755", "040000", "101644"])
def test_submodules_and_special_modes_are_always_refused(mode: str) -> None:
    code = "submodule" if mode == SUBMODULE else "mode"
    assert judged(effect("sub", ABSENT, mode), **EVERYTHING) == [(code, "sub")]
    assert judged(effect("sub", mode, ABSENT), **EVERYTHING) == [(code, "sub")]


def test_the_scope_distinguishes_changing_from_creating() -> None:
    scope = Scope(("src/**",), ("docs/**",))
    inside = effect("src/a"), effect("src/b", ABSENT), effect("docs/c", ABSENT)
    assert judged(*inside, scope=scope) == []
    outside = effect("docs/a"), effect("docs/b", new=ABSENT), effect("b", ABSENT)
    assert judged(*outside, scope=scope) == [
        ("out_of_scope", "docs/a"),
        ("out_of_scope", "docs/b"),
        ("out_of_scope", "b"),
    ]


def test_a_rename_is_a_deletion_here_and_a_creation_there() -> None:
    scope = Scope(("src/**",), ("docs/**",))
    assert judged(effect("docs/a", was="src/a"), scope=scope) == []
    assert judged(effect("src/a", was="docs/a"), scope=scope) == [("out_of_scope", "docs/a")]
    assert judged(effect("a.txt", was="Makefile")) == [("protected", "Makefile")]


def test_forbidden_paths_are_refused_inside_the_scope_too() -> None:
    found = judged(effect("keys/secret.pem", ABSENT), forbid=["*.pem"], protected=["keys/**"])
    assert found == [("forbidden_path", "keys/secret.pem"), ("protected", "keys/secret.pem")]


def test_limits_hold_at_their_edge_and_no_further() -> None:
    two = changed(effect("a"), effect("b"))
    size = len(two.diff)
    assert verdict(two, max_files=2, max_bytes=size) == []
    assert verdict(two, max_files=1, max_bytes=size - 1) == [("oversize", "")] * 2
    hunks = b"diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1 +1 @@\n-@@ -1 @@\n@@ -9 +9 @@\n+@@ x\n"
    assert verdict(changed(effect("a"), diff=hunks), max_hunks=2) == []
    assert verdict(changed(effect("a"), diff=hunks), max_hunks=1) == [("oversize", "")]


def test_no_patch_deletes_or_empties_more_than_half_of_the_files() -> None:
    gone = [effect(path, new=ABSENT) for path in ("a", "b")]
    assert judged(*gone, files=tracked("a", "b", "c", "d"), **EVERYTHING) == []
    assert judged(*gone, files=tracked("a", "b", "c"), **EVERYTHING) == [("deletion", "")]
    emptied = Effect("c", "modified", None, REGULAR, REGULAR, "1" * 40, EMPTY)
    assert judged(*gone, emptied, files=tracked(*"abcde"), **EVERYTHING) == [("deletion", "")]
    moved = [effect(f"new/{path}", was=path) for path in "abc"]
    assert judged(*moved, files=tracked("a", "b", "c")) == []


EMPTY = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"


@pytest.mark.parametrize(
    ("path", "was"),
    [
        ("attic/old.py", "tests/test_a.py"),
        ("tests/a.py", "tests/test_a.py"),
        ("src/test_a.py", "tests/test_a.py"),
        ("tests/test_a.py.bak", "tests/test_a.py"),
        ("tests/test_a.txt", "tests/test_a.py"),
        ("tests/.old/test_a.py", "tests/test_a.py"),
        ("tests/build/test_a.py", "tests/test_a.py"),
        ("src/util.js", "src/util.test.js"),
        ("src/fixtures.json", "src/__tests__/fixtures.json"),
    ],
)
def test_a_test_that_moves_where_no_runner_looks_is_removed(path: str, was: str) -> None:
    assert judged(effect(path, was=was)) == [("deletion", was)]
    assert judged(effect(path, was=was), allow_test_removal=True) == []


@pytest.mark.parametrize(
    ("path", "was"),
    [
        ("tests/unit/test_b.py", "tests/test_a.py"),
        ("tests/a_test.py", "tests/test_a.py"),
        ("tests/test_a.py", "src/test_a.py"),
        ("tests/data/b.json", "tests/a.json"),
        ("src/latest.py", "src/testing.py"),
    ],
)
def test_a_test_may_move_where_runners_find_it(path: str, was: str) -> None:
    assert judged(effect(path, was=was)) == []


def test_a_test_that_becomes_a_link_or_empty_is_removed() -> None:
    link = Effect("tests/test_a.py", "type_changed", None, REGULAR, SYMLINK, "1" * 40, "link-a")
    base = KnownFiles({f"{n}": TrackedFile(REGULAR, "5" * 40) for n in range(9)}, {"link-a": b"x"})
    assert judged(link, files=base, allow_symlinks=True) == [("deletion", "tests/test_a.py")]
    emptied = Effect("tests/test_a.py", "modified", None, REGULAR, REGULAR, "1" * 40, EMPTY)
    assert judged(emptied) == [("deletion", "tests/test_a.py")]


@pytest.mark.parametrize(
    "path",
    [
        *("polls/tests.py", "src/x_tests.py", "src/tests.rs", "lib/test.js", "lib/a-test.js"),
        *("src/TestFoo.java", "src/FooTestCase.java", "src/FooIT.java", "src/FooTest.scala"),
        *("src/FooSpec.groovy", "src/FooTest.cpp", "src/x_unittest.cc", "e2e/login.cy.ts"),
        *("lua/foo_spec.lua", "ps/Foo.Tests.ps1", "types/foo.test-d.ts", "lisp/test-foo.el"),
    ],
)
def test_tests_of_other_languages_are_tests_too(path: str) -> None:
    assert judged(effect(path, new=ABSENT)) == [("deletion", path)]


@pytest.mark.parametrize("path", [".claude", ".github", "sub/.cursor", ".husky"])
def test_a_link_in_the_place_of_a_protected_folder_is_protected(path: str) -> None:
    link = Effect(path, "added", None, ABSENT, SYMLINK, "0" * 40, "link-a")
    base = KnownFiles({"other/x": TrackedFile(REGULAR, "5" * 40)}, {"link-a": b"other"})
    allowed: dict[str, Any] = {"allow_symlinks": True, "forbid": []}
    assert ("protected", path) in judged(link, files=base, **allowed)
    allowed |= {"allow_protected": [f"{path}/**"]}
    assert ("protected", path) not in judged(link, files=base, **allowed)
    forbidden = judged(link, files=base, **allowed | {"forbid": [f"{path}/**"]})
    assert ("forbidden_path", path) in forbidden


def test_every_reason_is_given_at_once_and_once() -> None:
    found = judged(
        *(effect("Makefile", REGULAR, EXECUTABLE), effect("x", ABSENT, SYMLINK)),
        scope=Scope(("src/**",)),
        max_files=1,
    )
    assert len(found) == len(set(found))
    assert {code for code, _ in found} == {
        *("oversize", "out_of_scope", "protected", "mode", "symlink")
    }


# -- collisions --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "new", "refused"),
    [
        (["readme.md"], "README.md", True),
        (["caf\u00e9"], "cafe\u0301", True),
        (["stra\u00dfe"], "STRASSE", True),
        (["\u0645\u06cc\u062e"], "\u0645\u06cc\u200c\u062e", True),
        (["\u2764\ufe0f.md"], "\u2764.md", True),
        (["\u0645\u06cc\u062e"], "\u0645\u06cc\u200c\u062f", False),
        (["src/a.py"], "Src/b.py", True),
        (["src/a.py"], "SRC", True),
        (["Src"], "src/a.py", True),
        (["src/a.py"], "src/b.py", False),
        (["src/a.py", "Src/a.py"], "Src/b.py", False),
        (["readme.md"], "docs/README.md", False),
    ],
)
def test_new_names_that_are_old_ones_in_another_case_or_normalisation_collide(
    base: list[str], new: str, refused: bool
) -> None:
    found = judged(effect(new, ABSENT), files=tracked(*base, "1", "2"))
    assert found == ([("path_collision", new)] if refused else [])


def test_two_new_names_collide_with_each_other() -> None:
    found = judged(effect("a.py", ABSENT), effect("A.py", ABSENT))
    assert sorted(found) == [("path_collision", "A.py"), ("path_collision", "a.py")]


def test_what_a_patch_takes_away_collides_with_nothing() -> None:
    base = tracked("readme.md", "1", "2", "3")
    assert judged(effect("README.md", was="readme.md"), files=base) == []
    replaced = effect("README.md", ABSENT), effect("readme.md", new=ABSENT)
    assert judged(*replaced, files=base) == []


# -- links -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "one",
    [
        effect("link", ABSENT, SYMLINK),
        effect("a", REGULAR, SYMLINK),
        effect("link", SYMLINK, ABSENT),
        effect("link", SYMLINK, SYMLINK),
    ],
)
def test_links_need_permission(one: Effect) -> None:
    assert judged(one) == [("symlink", one.path)]


def linked(path: str, target: str, **base: str) -> list[tuple[str, str]]:
    """The verdict on a new link where links are allowed."""
    links = tracked("src/a.py", "1", "2", **base)
    known = KnownFiles(links.files, {**links.contents, "new": target.encode()})
    old = SYMLINK if path in base else ABSENT
    change = "modified" if path in base else "added"
    one = Effect(path, change, None, old, SYMLINK, f"link-{path}", "new")
    return judged(one, files=known, allow_symlinks=True)


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("link", "src/a.py"),
        ("src/deep/link", "../../src/a.py"),
        ("src/link", ".."),
        ("link", "nowhere/yet"),
        ("link", "link"),
    ],
)
def test_a_link_inside_the_repository_may_be_allowed(path: str, target: str) -> None:
    assert linked(path, target) == []


@pytest.mark.parametrize(
    ("path", "target"),
    [
        *(("link", "/etc/passwd"), ("link", ".."), ("link", "src/../../x"), ("src/link", "../..")),
        *(
            ("link", "C:\\x"),
            ("link", "\\\\host\\share"),
            ("link", "..\\x"),
            ("link", "src\\..\\.."),
        ),
        *(("link", ".git/config"), ("link", "src/.GIT"), ("src/link", "../git~1/hooks")),
        *(("link", "a\nb"), ("link", "x/" * 3000)),
    ],
)
def test_a_link_that_leaves_the_repository_is_always_refused(path: str, target: str) -> None:
    assert linked(path, target) == [("symlink", path)]


def test_a_link_leaves_through_other_links() -> None:
    assert linked("link", "out/x", out="/etc") == [("symlink", "link")]
    assert linked("link", "a/../../x", a="src/deep/er") == []
    assert linked("src/deep/link", "../../up/../x", up="src") == []
    assert linked("src/deep/link", "../../top/../x", top=".") == [("symlink", "src/deep/link")]


@pytest.mark.parametrize("count", [45, 2000])
def test_a_long_chain_of_links_is_refused_wherever_it_may_end(count: int) -> None:
    chain = {f"l{n}": f"l{n + 1}" for n in range(count)}
    for end in ("../outside", "src"):
        assert linked("link", "l0", **chain, **{f"l{count}": end}) == [("symlink", "link")]
    assert linked("link", "l9", **{f"l{n}": chain[f"l{n}"] for n in range(30)}) == []


def test_links_that_multiply_are_soon_done_with() -> None:
    doubling = {f"l{n}": f"l{n + 1}/l{n + 1}" for n in range(200)}
    assert linked("link", "l0", **doubling) == [("symlink", "link")]


@pytest.mark.parametrize("target", ["link", "a", "a/../b", "src/../link/x"])
def test_links_in_a_circle_lead_nowhere(target: str) -> None:
    assert linked("link", target, a="b", b="src/../a") == []


def test_a_link_that_was_there_is_led_astray_by_another() -> None:
    assert linked("a", "src", link="a/../x") == []
    assert linked("a", ".", link="a/../x", a="src") == [("symlink", "link")]


def test_links_that_left_before_are_not_the_patchs_doing() -> None:
    assert linked("link", "src", out="/etc") == []


@pytest.mark.parametrize("name", [".gitmodules", "sub/.gitattributes", ".GITIGNORE", "gitatt~1"])
def test_no_link_poses_as_a_file_that_git_reads(name: str) -> None:
    known = KnownFiles(tracked("1", "2").files, {"link": b"x"})
    one = Effect(name, "added", None, ABSENT, SYMLINK, "0" * 40, "link")
    found = judged(one, files=known, **EVERYTHING)
    assert found == [("symlink", name)]


def test_hashes_of_allowed_secrets_are_checked_when_the_plan_is_read() -> None:
    assert PolicySpec.model_validate({"allow_secrets": ["AB" * 32]}).allow_secrets == ("ab" * 32,)
    with pytest.raises(ValueError, match="is no SHA-256"):
        PolicySpec.model_validate({"allow_secrets": ["secret"]})
