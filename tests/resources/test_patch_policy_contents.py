"""The judge on what real git says: binaries, line ends, attributes, emptied tests."""

import time

import pytest

from resources.effects import MAX_INFLATED_BYTES, SUBMODULE, SYMLINK, Change
from resources.patch_policy.sections import sections
from tests.resources.changes import Bench, Files, changed, effect, verdict

LF, CRLF = "one\ntwo\nthree\nfour\n", "one\r\ntwo\r\nthree\r\nfour\r\n"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench.in_folder(tmp_path_factory.mktemp("contents"))


def test_git_tells_all_about_a_change_at_once(bench: Bench) -> None:
    before: Files = {"a": "1\n2\n", "old name": "x\ny\nz\n", "gone": "g\n", "kind": "k\n"}
    after: Files = {
        "a": "1\n3\n",
        'new "name"\u00e9': "x\ny\nz\n",
        "bin": b"\0",
        "kind": (SYMLINK, "a"),
        "sub": (SUBMODULE, "1" * 40),
    }
    change = bench.change(before, after)
    assert [(e.path, e.change, e.old_path) for e in change.effects] == [
        ("a", "modified", None),
        ("bin", "added", None),
        ("gone", "deleted", None),
        ("kind", "type_changed", None),
        ('new "name"\u00e9', "renamed", "old name"),
        ("sub", "added", None),
    ]
    assert change.size.binaries == ("bin",)
    assert (change.size.insertions, change.size.deletions) == (3, 3)
    texts = [(s.effect.path, [line for _, line in s.added], s.removed) for s in sections(change)]
    assert texts == [
        ("a", [b"3"], (b"2",)),
        ("bin", [], ()),
        ("gone", [], (b"g",)),
        ("kind", [], (b"k",)),
        ("kind", [b"a"], ()),
        ('new "name"\u00e9', [], ()),
        ("sub", [b"Subproject commit " + b"1" * 40], ()),
    ]
    assert change.paths == {"a", "bin", "gone", "kind", 'new "name"\u00e9', "old name", "sub"}


def test_the_text_of_a_change_makes_it_again(bench: Bench) -> None:
    before: Files = {"a": "1\n2\n", "b": "x\n" * 9, "-c d": "no end"}
    change = bench.change(before, {"a": "1\n", "B c": "x\n" * 9 + "y", "-c d": b"\0\r\n"})
    index, base = bench.path.parent / "index", bench.tree({**before, **_beside()})
    bench.repository.on_objects("read-tree", base, index=index)
    bench.repository.on_objects("apply", "--cached", stdin=change.diff, index=index)
    made = bench.repository.on_objects("write-tree", index=index).stdout.decode().strip()
    after: Files = {"a": "1\n", "B c": "x\n" * 9 + "y", "-c d": b"\0\r\n", **_beside()}
    assert made == bench.tree(after)


def _beside() -> dict[str, str]:
    return {f"kept/{n}": f"{n}\n" for n in range(20)}


def test_an_ordinary_change_looks_nothing_up() -> None:
    class Untouchable:
        def tracked(self) -> dict[str, object]:
            raise AssertionError("the base was listed")

        def read(self, blobs: object) -> dict[str, bytes]:
            raise AssertionError("a file was read")

    text = b"diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1 +1 @@\n-x = 1\n+x = 2\n"
    plain = changed(effect("a"), diff=text)
    assert verdict(Change(plain.effects, plain.size, text, Untouchable())) == []  # pyright: ignore


def test_a_text_that_is_not_that_of_the_effects_is_a_bug() -> None:
    with pytest.raises(ValueError, match="0 files in the text of a patch with 1 effects"):
        verdict(changed(effect("a"), diff=b"x"))


def test_contents_are_read_once_and_only_so_much_of_them(bench: Bench) -> None:
    half = MAX_INFLATED_BYTES // 2 + 1
    change = bench.change({}, {"a": b"a" * half, "b": b"b" * half, "c": "c"})
    blobs = [effect.new_blob for effect in change.effects]
    read = change.contents([*blobs, blobs[2]])
    assert [content and len(content) for content in read.values()] == [half, None, 1]
    assert change.contents(blobs)[blobs[0]] is read[blobs[0]]


# -- binaries ------------------------------------------------------------------------------------


def test_binary_files_need_permission(bench: Bench) -> None:
    change = bench.change({"old.png": b"\0\1"}, {"a.png": b"P\0NG", "old.png": b"\0\2"})
    assert verdict(change) == [("binary", "a.png"), ("binary", "old.png")]
    assert verdict(change, allow_binary=True) == []


def test_attributes_make_no_binary_file_a_text(bench: Bench) -> None:
    attributes = "*.bin diff text\n*.py -diff\n"
    before: Files = {".gitattributes": attributes, "b.py": "1\n"}
    after: Files = {".gitattributes": attributes, "a.bin": b"a\0b\n", "b.py": "2\n"}
    assert verdict(bench.change(before, after)) == [("binary", "a.bin")]


def test_nul_bytes_are_seen_where_git_no_longer_looks_for_them(bench: Bench) -> None:
    change = bench.change(
        {}, {"late": b"text\n" * 5000 + b"\0\n", "wide": "text\n".encode("utf-16")}
    )
    assert verdict(change) == [("binary", "wide"), ("binary", "late")]


# -- line ends -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "refused"),
    [
        (LF, CRLF, True),
        (CRLF, LF, True),
        (LF, LF.replace("\n", "\r"), True),
        (LF, CRLF.replace("two", "2"), True),
        (LF, "new\r\ntext\r\naltogether\r\n", True),
        (LF, "one\r\ntwo\r\nthree\nfour\n", True),
        (LF, "one\ntwo\r\nthree\nfour\n", True),
        (CRLF, CRLF.replace("two\r", "two"), True),
        ("x\n" * 50 + LF, "x\n" * 50 + CRLF, True),
        ("one\n", "one\r\n", True),
        (CRLF, CRLF.replace("two", "2"), False),
        (CRLF, CRLF + "five\r\n", False),
        (LF, LF + "five\r\n", False),
        (LF, LF.replace("two\n", "2\r\n"), False),
        (LF + CRLF[:5], LF + "one\n", False),
        ("one", "one\r\n", False),
        (LF, "", False),
    ],
)
def test_line_ends_stay_as_they_are(bench: Bench, before: str, after: str, refused: bool) -> None:
    found = verdict(bench.change({"a.txt": before}, {"a.txt": after}))
    assert found == ([("eol", "a.txt")] if refused else [])


EDITED = "".join(f"statement {n};\n" for n in range(25))
HIDING = EDITED + "".join(f"left alone {n};\n" for n in range(24)) + "}\n" * 3


@pytest.mark.parametrize(
    ("turn", "to", "refused"),
    [
        ("left alone 7;\n", "left alone 7;\r\n", True),
        ("left alone 7;\n", "    left alone 7; \r\n", True),
        ("left alone 7;\n", "left alone 7;\r", True),
        (HIDING[len(EDITED) :], HIDING[len(EDITED) :].replace("\n", "\r\n"), True),
        ("}\n", "}\r\n", False),
        ("left alone 7;\n", "another line;\r\n", False),
        ("left alone 7;\n", "    left alone 7;\n", False),
    ],
)
def test_edits_hide_no_turned_line(bench: Bench, turn: str, to: str, refused: bool) -> None:
    after = HIDING.replace("statement", "expression").replace(turn, to, 1)
    found = verdict(bench.change({"a.txt": HIDING}, {"a.txt": after}))
    assert found == ([("eol", "a.txt")] if refused else [])


def test_a_file_of_both_kinds_is_made_uniform_in_its_usual_kind_only(bench: Bench) -> None:
    mixed = HIDING.replace("\n", "\r\n", 10)
    edited = mixed.replace("left", "right")
    for end, refused in (("\n", False), ("\r", True)):
        change = bench.change({"a.txt": mixed}, {"a.txt": edited.replace("\r\n", end)})
        assert verdict(change) == ([("eol", "a.txt")] if refused else [])


def test_a_file_that_moves_keeps_its_line_ends_too(bench: Bench) -> None:
    lines = "".join(f"line {n} of a longer text\n" for n in range(20))
    turned = lines.replace("\n", "\r\n", 8).replace("line 19", "Line 19")
    change = bench.change({"a.txt": lines}, {"b.txt": turned})
    assert [effect.change for effect in change.effects] == ["renamed"]
    assert verdict(change) == [("eol", "b.txt")]


def test_new_and_binary_files_have_no_line_ends_to_keep(bench: Bench) -> None:
    change = bench.change({"b.bin": b"\0\n\n"}, {"a.txt": CRLF, "b.bin": b"\0\r\n\r\n"})
    assert verdict(change, allow_binary=True) == []


def test_a_file_too_large_to_judge_is_refused(bench: Bench) -> None:
    big = b"line\n" * (MAX_INFLATED_BYTES // 5 + 1)
    change = bench.change({"a.txt": big + b"x\n"}, {"a.txt": big + b"x\r\n"})
    assert verdict(change) == [("oversize", "a.txt")]


# -- attributes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "before", "after", "refused"),
    [
        (".gitattributes", None, "* filter=evil\n", True),
        ("deep/.gitattributes", None, "*.py diff=x\n", True),
        (".GitAttributes", None, "* merge=ours\n", True),
        (".gitattributes", None, '"a b" working-tree-encoding=UTF-16\n', True),
        (".gitattributes", None, "\ufeff  *.c text ident\n", True),
        (".gitattributes", None, "*.txt working-tree-encoding\n", True),
        (".gitattributes", "*.png filter=lfs\n", "*.png filter=lfs\n*.jpg filter=lfs\n", True),
        (".gitattributes", None, "[attr]evil filter=x\n", True),
        (".gitattributes", "[attr]m merge=x\n", "[attr]m merge=x\n*.c m\n", True),
        (".gitattributes", "*.png filter=lfs\n", "*.png filter=lfs\n*.txt text\n", False),
        (".gitattributes", "*.png filter=lfs\n", None, False),
        (
            ".gitattributes",
            None,
            "# filter=x\n*.txt text eol=lf -diff -merge\nident binary\n",
            False,
        ),
    ],
)
def test_attributes_that_name_drivers_are_refused_even_where_the_file_is_allowed(
    bench: Bench, path: str, before: str | None, after: str | None, refused: bool
) -> None:
    old, new = ({} if text is None else {path: text} for text in (before, after))
    change = bench.change(old, new)
    found = verdict(change, allow_protected=["**"])
    assert found == ([("attributes", path)] if refused else [])
    assert ("protected", path) in verdict(change)


def test_a_macro_of_the_top_folder_is_known_in_all_folders(bench: Bench) -> None:
    top: Files = {".gitattributes": "[attr]evil filter=x\n"}
    change = bench.change(top, {**top, "sub/.gitattributes": "* evil\n"})
    assert verdict(change, allow_protected=["**"]) == [("attributes", "sub/.gitattributes")]


# -- tests ---------------------------------------------------------------------------------------

TEST = "import a\n\n\ndef test_one():\n    assert a.one\n\n\ndef test_two():\n    assert a.two\n"


@pytest.mark.parametrize(
    ("path", "before", "after", "refused"),
    [
        ("tests/test_a.py", TEST, "", True),
        ("tests/test_a.py", TEST, "\n\n", True),
        ("tests/test_a.py", TEST, "import a\n", True),
        ("tests/test_a.py", TEST, TEST.replace("def test", "# def test"), True),
        ("tests/test_a.py", TEST, '"""Nothing to test any more."""\n', True),
        ("src/a.test.js", "it('works', () => {\n  go()\n})\n", "const x = 1\n", True),
        ("src/ATest.java", "class X {\n  @Test\n  void a() {}\n}\n", "// nothing\n", True),
        ("tests/test_a.py", TEST, TEST.replace("def test_", "def check_"), True),
        ("src/a.test.js", "it('works', () => {\n})\n", "/* x */\nit('works', () => {\n})\n", False),
        ("tests/test_a.py", TEST, f'"""Words\nof it."""\n{TEST}', False),
        ("tests/test_a.py", TEST, f'{TEST}\nTEXT = """\ndef test_x():\n"""\n', False),
        ("a_test.go", "func TestA(t *testing.T) {\n}\n", "func helper() {\n}\n", True),
        ("spec/a_spec.rb", "describe Foo do\n  it 'a' do\n", "x = 1\n", True),
        ("tests/a.rs", "#[test]\nfn a() {}\n", "fn a() {}\n", True),
        ("tests/data.json", "{}\n", "\n", True),
        ("tests/test_a.py", TEST, TEST.replace("assert a.two", "assert a.three"), False),
        ("tests/test_a.py", TEST, TEST.partition("def test_two")[0], False),
        ("tests/test_a.py", TEST, TEST.replace("test_one", "test_1"), False),
        ("tests/data.json", "{}\n{}\n", "{}\n", False),
        ("tests/prose.txt", "it is\ntest this\n", "it was\n", False),
        ("tests/helper.py", "def help():\n    pass\n", "import a\n", False),
        ("src/a.py", TEST, "import a\n", False),
    ],
)
def test_tests_are_not_emptied(
    bench: Bench, path: str, before: str, after: str, refused: bool
) -> None:
    change = bench.change({path: before}, {path: after})
    assert verdict(change) == ([("deletion", path)] if refused else [])
    assert verdict(change, allow_test_removal=True) == []


def test_files_that_are_only_blank_afterwards_are_gone_too(bench: Bench) -> None:
    before = {f"src/{n}.txt": f"{n}\n" for n in range(30)}
    blank = bench.change(before, dict.fromkeys(before, " \n\n"))
    assert verdict(blank) == [("deletion", "")]
    edited = bench.change(before, {path: f"new {text}" for path, text in before.items()})
    assert verdict(edited) == []


@pytest.mark.parametrize("unit", ["/*\n", '"""\n', "*/ /*\n/*\n", "\t" * 9, "x = r"])
def test_hostile_blocks_do_not_make_the_search_for_tests_slow(bench: Bench, unit: str) -> None:
    text = unit * (900_000 // len(unit)) + "\n"
    change = bench.change({"tests/test_a.py": TEST}, {"tests/test_a.py": text + TEST})
    began = time.thread_time()
    verdict(change)
    assert time.thread_time() - began < 5.0
