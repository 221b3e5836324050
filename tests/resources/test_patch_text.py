"""What a patch text says: read strictly, and the same as what git makes of it."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resources.effects import examine
from resources.patch_policy import Reason, Scope
from resources.patches.check import check_patch
from resources.patches.declared import differences
from resources.patches.text import Declared, PatchText, read_patch_text
from resources.specs import PolicySpec
from tests.resources.gitbox import GitBox
from tests.resources.patch_trees import Tree, git_diff, tree_pairs, write_trees

EDIT = b"""\
diff --git a/a.txt b/a.txt
index 7898192..6178079 100644
--- a/a.txt
+++ b/a.txt
@@ -1,2 +1,2 @@ section
 a
-b
+B
"""
STYLES = [
    ("-M", "--binary"),
    ("--no-renames", "--binary", "--full-index"),
    ("-C", "--find-copies-harder", "--binary"),
    ("-B", "-M", "--binary", "--src-prefix=old/", "--dst-prefix=x/"),
    ("--binary", "-U0"),
]


def read(data: bytes) -> PatchText:
    text = read_patch_text(data)
    assert isinstance(text, PatchText), text
    return text


def only(data: bytes) -> Declared:
    (file,) = read(data).files
    return file


def refusal(data: bytes) -> Reason:
    reason = read_patch_text(data)
    assert isinstance(reason, Reason), reason
    return reason


def new_file(name: str) -> bytes:
    return f"--- /dev/null\n+++ {name}\n@@ -0,0 +1 @@\n+x\n".encode()


def test_an_edit_says_its_path_mode_and_size() -> None:
    file = only(EDIT)
    assert (file.old_path, file.new_path, file.change) == ("a.txt", "a.txt", "modified")
    assert (file.old_mode, file.new_mode) == ("100644", "100644")
    assert (file.body.hunks, file.body.grows, file.body.binary) == (1, 2, False)


def test_a_mail_is_read_around_its_patch() -> None:
    mail = (
        b"From 1234 Mon Sep 17 00:00:00 2001\nFrom: A <a@b>\nSubject: [PATCH] Do\n\n---\n"
        b" a.txt | 2 +-\n 1 file changed, 1 insertion(+), 1 deletion(-)\n\n"
    )
    again = EDIT.replace(b"a.txt", b"b.txt")
    text = read(mail + EDIT + b"-- \n2.39.5\n\n" + mail + again + b"--\n2.39.5\n\n")
    assert [file.path for file in text.files] == ["a.txt", "b.txt"]
    assert text.hunks == 2


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("b/with space.txt\t", "with space.txt"),
        ("b/x\t2020-01-01 10:00:00.000000000 +0000", "x"),
        ('"b/q\\"q\\\\ \\t\\n.txt"', 'q"q\\ \t\n.txt'),
        ('"b/\\303\\251"', "é"),
        ("b/é", "é"),
        ("new/x", "x"),
    ],
)
def test_names_are_read_as_git_spells_them(name: str, path: str) -> None:
    assert only(new_file(name)).new_path == path


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("/etc/passwd", "path_escape"),
        ("b//etc/passwd", "path_escape"),
        ("../x", "path_escape"),
        ("C:/x", "path_escape"),
        ("..\\x/y", "path_escape"),
        ('"b/nul\\000.txt"', "path_characters"),
        ("b/nul\0.txt", "path_characters"),
        ("x", "malformed"),
        ("b/", "malformed"),
        ('"b/x', "malformed"),
        ('"b/\\q"', "malformed"),
    ],
)
def test_names_that_no_file_may_have_are_refused(name: str, code: str) -> None:
    assert refusal(new_file(name)).code == code


PLAIN = EDIT[EDIT.index(b"--- ") :]


def test_a_plain_diff_may_have_the_same_prefix_twice() -> None:
    file = only(PLAIN.replace(b"+++ b/", b"+++ a/"))
    assert (file.old_path, file.new_path) == ("a.txt", "a.txt")


@pytest.mark.parametrize("path", ["a.txt", "src/a.txt", "with space/a.txt"])
def test_a_diff_without_prefixes_is_told_how_to_make_a_good_one(path: str) -> None:
    name = path.encode()
    bare = EDIT.replace(b"a/a.txt", name).replace(b"b/a.txt", name)
    moved = b"diff --git " + name + b" " + name + b".new\nsimilarity index 100%\n"
    moved += b"rename from " + name + b"\nrename to " + name + b".new\n"
    for text in (bare, bare[bare.index(b"--- ") :], moved, moved.replace(b"rename", b"copy")):
        reason = refusal(text)
        assert reason.code == "malformed"
        assert "git -c diff.noprefix=false diff --binary" in reason.message


@pytest.mark.parametrize(
    ("data", "code", "part"),
    [
        (b"", "empty", "empty"),
        (b" \n\n", "empty", "empty"),
        (b"hello\n", "malformed", "no diff"),
        (EDIT[:-3], "malformed", "cut off"),
        (EDIT[:-1], "malformed", "cut off"),
        (EDIT + b"+more\n", "malformed", "line 9: a hunk has more lines"),
        (EDIT + b" more\n", "malformed", "more lines"),
        (EDIT.replace(b"+1,2", b"+1,1"), "malformed", "more lines"),
        (EDIT.replace(b"-1,2", b"-1,1"), "malformed", "other lines"),
        (EDIT.replace(b"+1,2", b"+1,3") + b"diff --git", "malformed", "fewer lines"),
        (EDIT.replace(b"-b\n+B", b"-b\n+B\n-c"), "malformed", "more lines"),
        (EDIT.replace(b"-b\n+B", b" b"), "malformed", "changes nothing"),
        (EDIT.replace(b"@@ -1,2", b"@@ -x,2"), "malformed", "head of a hunk"),
        (EDIT.replace(b"@@ -1,2 +1,2", b"@@ -0,0 +0,0"), "malformed", "changes nothing"),
        (EDIT.replace(b"--- a/a.txt\n+++ b/a.txt\n", b"what?\n"), "malformed", "does not say"),
        (b"@@ -1 +1 @@\n-a\n+b\n", "malformed", "belongs to no file"),
        (b"diff --cc a\n@@@ -1 -1 +1 @@@\n", "malformed", "merge"),
        (b"Binary files a/x and b/x differ\n", "malformed", "--binary"),
        (EDIT.replace(b"index 7898192", b"index zzz"), "malformed", "`index`"),
        (EDIT.replace(b"\nindex", b"\nindex 1234567..7654321\nindex"), "malformed", "twice"),
        (EDIT.replace(b"\n", b"\r\n"), "malformed", "CR LF"),
        (PLAIN.replace(b"\n", b"\r\n"), "malformed", "git diff --binary --output=FILE"),
        (PLAIN.replace(b"a.txt\n", b"a.txt\t2025-01-01\r\n"), "malformed", "CR LF"),
        (EDIT.replace(b"+++ b/a.txt", b"+++ b/a.txt\r"), "malformed", "CR LF"),
        (EDIT.decode().encode("utf-16"), "malformed", "UTF-16"),
        (EDIT.replace(b"diff --git a/a.txt", b"diff --git a/x"), "declared_mismatch", "two ways"),
        (EDIT.replace(b"+++ b/a.txt", b"+++ b/c.txt"), "declared_mismatch", "two ways"),
        (EDIT.replace(b"+++ b/a.txt", b"+++ b/../c"), "path_escape", "leads out"),
        (EDIT.replace(b"index", b"rename from a.txt\nindex"), "malformed", "contradicts"),
        (EDIT.replace(b"index", b"new file mode 100644\nindex"), "declared_mismatch", "two ways"),
        (EDIT.replace(b"100644", b"104755"), "mode", "104755"),
        (EDIT.replace(b"100644", b"040000"), "mode", "040000"),
        (b"--- a/x\n+++ b/y\n@@ -1 +1 @@\n-a\n+b\n", "declared_mismatch", "two ways"),
    ],
)
def test_a_text_that_does_not_add_up_is_refused(data: bytes, code: str, part: str) -> None:
    reason = refusal(data)
    assert reason.code == code
    assert part in reason.message


BINARY = b"""\
diff --git a/x b/x
new file mode 100644
index 0000000000000000000000000000000000000000..f76dd238ade08917e6712764a16a22005a50573d
GIT binary patch
literal 1
IcmZPo000310RR91

literal 0
HcmV?d00001

"""


def test_the_size_of_binary_files_is_known_before_they_are_inflated() -> None:
    assert only(BINARY).body.binary
    assert only(BINARY).body.grows == 1
    bomb = BINARY.replace(b"literal 1\n", b"literal 9000000000\n")
    assert only(bomb).body.grows == 9_000_000_000


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"literal 1\n", b"literally\n"),
        (b"IcmZPo000310RR91", b"McmZPo000310RR91"),
        (b"IcmZPo000310RR91", b"Icm ZPo00031RR91"),
        (b"IcmZPo000310RR91", b"!cmZPo000310RR91"),
        (b"literal 1\n", b"delta 1\n"),
    ],
)
def test_damaged_binary_data_is_refused(old: bytes, new: bytes) -> None:
    assert refusal(BINARY.replace(old, new)).code == "malformed"


def test_headers_full_of_blanks_are_read_in_no_time() -> None:
    header = b"diff --git a/" + b"x " * 500_000 + b"b/" + b"x " * 500_000
    assert refusal(header + b"\nold mode 100644\nnew mode 100755\n").code == "malformed"


@given(data=st.binary(max_size=300), place=st.integers(0, len(EDIT)))
def test_no_text_is_too_odd_to_be_read(data: bytes, place: int) -> None:
    for text in (data, EDIT[:place] + data + EDIT[place:]):
        assert isinstance(read_patch_text(text), PatchText | Reason)


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> GitBox:
    return GitBox(tmp_path_factory.mktemp("texts"))


@given(pair=tree_pairs(), style=st.sampled_from(STYLES), quote=st.booleans())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_diff_of_git_says_what_it_does(
    box: GitBox, pair: tuple[Tree, Tree], style: tuple[str, ...], quote: bool
) -> None:
    old, new = write_trees(box.path, *pair)
    data = git_diff(box.path, old, new, *style, quote=quote)
    if not data:
        return
    change = examine(box.repository, old, new)
    assert not list(differences(read(data), change.effects))
    if "-U0" not in style:  # without context git does not apply it, nor do we
        checked = check_patch(box.repository, old, data, Scope(), PolicySpec())
        refused = {"path_escape", "git_dir"} & {reason.code for reason in checked.reasons}
        assert refused or checked.tree == box.repository.tree_of(new), checked.reasons
