"""The judge of effects: every reason by its code and path, as a pure function."""

import pytest

from resources.effects import Effect, Size
from resources.patch_policy import Reason, Scope, judge
from resources.specs import PolicySpec

FILE, PROGRAM, LINK, SUBMODULE, NONE = "100644", "100755", "120000", "160000", "000000"
BLOBS = {FILE: "1" * 40, PROGRAM: "2" * 40, LINK: "3" * 40, SUBMODULE: "4" * 40, NONE: "0" * 40}


def effect(path: str, old: str = FILE, new: str = FILE, was: str | None = None) -> Effect:
    change = "modified"
    if was:
        change = "renamed"
    elif old == NONE:
        change = "added"
    elif new == NONE:
        change = "deleted"
    return Effect(path, change, was, old, new, BLOBS[old], BLOBS[new])


def judged(
    *effects: Effect,
    scope: Scope | None = None,
    diff: bytes = b"",
    binaries: tuple[str, ...] = (),
    **policy: object,
) -> list[tuple[str, str | None]]:
    spec = PolicySpec.model_validate(policy)
    reasons = judge(effects, Size(1, 1, binaries), diff, scope or Scope(), spec)
    return [(reason.code, reason.path) for reason in reasons]


def test_an_ordinary_change_is_accepted() -> None:
    assert judged(effect("src/a.py"), effect("new.py", NONE), effect("old.py", new=NONE)) == []


def test_a_patch_without_effects_is_empty() -> None:
    assert judged() == [("empty", None)]


@pytest.mark.parametrize(
    ("one", "code", "permission"),
    [
        (effect("link", NONE, LINK), "symlink", {"allow_symlinks": True}),
        (effect("a", FILE, LINK), "symlink", {"allow_symlinks": True}),
        (effect("link", LINK, NONE), "symlink", {"allow_symlinks": True}),
        (effect("run", FILE, PROGRAM), "mode", {"allow_exec": True}),
        (effect("run", PROGRAM, FILE), "mode", {"allow_exec": True}),
        (effect("run", NONE, PROGRAM), "mode", {"allow_exec": True}),
        (effect("tests/test_a.py", new=NONE), "deletion", {"allow_test_removal": True}),
        (effect("Makefile"), "protected", {"allow_protected": ["Makefile"]}),
        (effect("sub/Makefile"), "protected", {"allow_protected": ["Makefile"]}),
        (effect(".github/workflows/x.yml", NONE), "protected", {"allow_protected": [".github/**"]}),
        (effect("sub/.gitattributes", NONE), "protected", {"allow_protected": [".gitattributes"]}),
        (effect("a/.env.local", NONE), "protected", {"allow_protected": ["**/.env*"]}),
    ],
)
def test_some_changes_need_the_plans_permission(
    one: Effect, code: str, permission: dict[str, object]
) -> None:
    assert judged(one) == [(code, one.path)]
    assert judged(one, **permission) == []


def test_a_submodule_is_always_refused() -> None:
    everything = {"allow_symlinks": True, "allow_exec": True, "allow_binary": True}
    assert judged(effect("sub", NONE, SUBMODULE), **everything) == [("submodule", "sub")]
    assert judged(effect("sub", SUBMODULE, NONE), **everything) == [("submodule", "sub")]


def test_the_scope_distinguishes_changing_from_creating() -> None:
    scope = Scope(("src/**",), ("docs/**",))
    assert judged(effect("src/a"), effect("src/b", NONE), effect("docs/c", NONE), scope=scope) == []
    outside = judged(effect("docs/a"), effect("docs/b", new=NONE), effect("b", NONE), scope=scope)
    assert outside == [
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
    found = judged(effect("keys/secret.pem", NONE), forbid=["*.pem"], protected=["keys/**"])
    assert found == [("forbidden_path", "keys/secret.pem"), ("protected", "keys/secret.pem")]


def test_limits_hold_at_their_edge_and_no_further() -> None:
    two = (effect("a"), effect("b"))
    assert judged(*two, diff=b"x" * 10, max_files=2, max_bytes=10) == []
    assert judged(*two, diff=b"x" * 11, max_files=1, max_bytes=10) == [("oversize", None)] * 2
    hunks = b"--- a\n+++ b\n@@ -1 +1 @@\n@@ -9 +9 @@\n"
    assert judged(effect("a"), diff=hunks, max_hunks=2) == []
    assert judged(effect("a"), diff=hunks, max_hunks=1) == [("oversize", None)]


def test_binary_files_need_permission() -> None:
    assert judged(effect("a.png"), binaries=("a.png",)) == [("binary", "a.png")]
    assert judged(effect("a.png"), binaries=("a.png",), allow_binary=True) == []


def test_a_name_that_is_no_text_is_refused_with_its_bytes_spelled_out() -> None:
    name = b"caf\xe9.txt".decode("utf-8", "surrogateescape")
    (reason,) = judge((effect(name, NONE),), Size(1, 0, ()), b"", Scope(("src/**",)), PolicySpec())
    assert reason == Reason(
        "path_characters", r"the name caf\xe9.txt is not valid UTF-8", r"caf\xe9.txt"
    )
    assert effect(name).to_json()["path"] == r"caf\xe9.txt"


def test_every_reason_is_given_at_once() -> None:
    scope = Scope(("src/**",))
    found = judged(
        effect("Makefile", FILE, PROGRAM), effect("x", NONE, LINK), scope=scope, max_files=1
    )
    assert {code for code, _ in found} == {
        "oversize",
        "out_of_scope",
        "protected",
        "mode",
        "symlink",
    }
