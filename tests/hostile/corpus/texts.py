"""Texts that are no patch, or not one that git applies whole."""

import base64
import gzip
from collections.abc import Iterator

from tests.hostile.cases import Case, bad
from tests.hostile.writing import (
    binary_delta,
    copy_command,
    create,
    delete,
    edit,
    header,
    mail,
    plain,
    rename,
)

EDIT = edit("a.txt", "beta", "BETA")
BROKEN = "malformed|conflict"


def cases() -> Iterator[Case]:
    yield from empty()
    yield from malformed()
    yield from other_tools()
    yield from conflicts()


def empty() -> Iterator[Case]:
    yield bad("empty-nothing", b"", "empty")
    yield bad("empty-blank", b"\n\n  \n", "empty|malformed")
    yield bad("empty-mail", mail(b""), "empty|malformed")
    yield bad("empty-header", header("a.txt", "a.txt"), "empty|malformed|declared_mismatch")
    context = plain("a/a.txt", "b/a.txt", b"@@ -1,2 +1,2 @@\n alpha\n beta\n")
    yield bad("empty-only-context", context, "empty|malformed|declared_mismatch")
    itself = rename("a.txt", "a.txt")
    yield bad("empty-rename-to-itself", itself, "empty|malformed|conflict|declared_mismatch")
    same = edit("a.txt", "beta", "BETA").replace(b"+BETA", b"+beta")
    yield bad("empty-same-line", same, "empty|declared_mismatch|malformed")
    undone = create("new.txt") + create_deleted("new.txt")
    yield bad("empty-made-and-undone", undone, "empty|declared_mismatch|malformed|conflict")


def create_deleted(path: str) -> bytes:
    """The deletion of what `create(path)` makes."""
    made = (
        create(path).replace(b"new file mode", b"deleted file mode").replace(b"+new\n", b"-new\n")
    )
    made = made.replace(b"--- /dev/null\n+++ b/", b"--- a/").replace(
        b"@@ -0,0 +1 @@", b"@@ -1 +0,0 @@"
    )
    return made.replace(f"--- a/{path}\n".encode(), f"--- a/{path}\n+++ /dev/null\n".encode())


def malformed() -> Iterator[Case]:
    found = "malformed"
    hunk = EDIT[EDIT.index(b"@@") :]
    start = EDIT[: EDIT.index(b"@@")]
    counts = hunk.partition(b"\n")[0]
    yield bad("malformed-words", b"This is not a patch.\n", "malformed|empty")
    yield bad("malformed-noise", bytes(range(256)) * 4, "malformed|empty")
    yield bad("malformed-json", b'{"diff": "a.txt"}\n', "malformed|empty")
    yield bad("malformed-gzip", gzip.compress(EDIT, mtime=0), "malformed|empty")
    yield bad("malformed-utf16", EDIT.decode().encode("utf-16"), "malformed|empty")
    for order in ("utf-16-le", "utf-16-be"):
        marked = ("\ufeff" + EDIT.decode()).encode(order)
        yield bad(f"malformed-{order}", marked, "malformed")
    yield bad("malformed-zeros", bytes(1000), "malformed|empty")
    yield bad("malformed-cut-in-hunk", EDIT[: EDIT.index(b"+BETA")], found)
    yield bad("malformed-cut-in-line", EDIT[: EDIT.index(b"TA\n")], found)
    yield bad("malformed-cut-after-names", start, found, also="empty declared_mismatch")
    second = edit("b.txt", "two", "2")
    yield bad("malformed-second-cut", EDIT + second[: second.index(b"+2")], found)
    for name, spelled in {
        "too-many": b"@@ -1,9 +1,9 @@",
        "too-few": b"@@ -1,2 +1,2 @@",
        "zero": b"@@ -0,0 +0,0 @@",
        "negative": b"@@ -1,-4 +1,-4 @@",
        "huge": b"@@ -1,18446744073709551617 +1,18446744073709551617 @@",
        "wraps": b"@@ -4294967297,4 +4294967297,4 @@",
        "no-end": b"@@ -1,4 +1,4",
        "letters": b"@@ -a,b +c,d @@",
        "no-plus": b"@@ -1,4 @@",
        "three": b"@@@ -1,4 -1,4 +1,4 @@@",
    }.items():
        patch = start + hunk.replace(counts, spelled)
        yield bad(f"malformed-counts-{name}", patch, BROKEN, also="empty declared_mismatch")
    odd = EDIT.replace(b" gamma", b"?gamma")
    yield bad("malformed-odd-line", odd, found)
    yield bad("malformed-line-without-mark", EDIT.replace(b" gamma", b"gamma"), found)
    early = EDIT.replace(b" alpha\n", b" alpha\n\\ No newline at end of file\n")
    yield bad("malformed-end-in-the-middle", early, BROKEN)
    yield bad("malformed-hunk-alone", hunk, found)
    yield bad("malformed-names-alone", b"--- a/a.txt\n+++ b/a.txt\n", "malformed|empty")
    yield bad("malformed-swapped-names", plain("b/a.txt", "a/a.txt", b"+x\n"), found)
    both = rename("a.txt", "z.txt").replace(b"rename to z.txt\n", b"")
    yield bad("malformed-rename-from-only", both, "malformed|declared_mismatch")
    both = rename("a.txt", "z.txt").replace(b"rename from a.txt\n", b"")
    yield bad("malformed-rename-to-only", both, "malformed|declared_mismatch")
    kept = delete("a.txt").replace(b"@@ -1,4 +0,0 @@", b"@@ -1,2 +0,0 @@")
    kept = kept.replace(b"-gamma\n-delta\n", b"")
    yield bad("malformed-deletion-leaves-lines", kept, BROKEN)
    with_old = create("new.txt").replace(b"@@ -0,0 +1 @@\n", b"@@ -1 +1 @@\n-old\n")
    yield bad("malformed-new-with-old-lines", with_old, BROKEN)
    unquoted = EDIT.replace(b"a/a.txt b/a.txt", b'"a/a.txt b/a.txt')
    yield bad("malformed-open-quote", unquoted, "malformed|declared_mismatch")
    bare = header("a.txt", "a.txt") + b"GIT binary patch\n"
    yield bad("malformed-binary-without-data", bare, "malformed|empty")
    twice = EDIT.replace(b"--- a/a.txt\n", b"--- a/a.txt\n--- a/a.txt\n")
    yield bad("malformed-names-twice", twice, "malformed|declared_mismatch|conflict", also="empty")


def other_tools() -> Iterator[Case]:
    """What only GNU patch, ed or subversion would take."""
    found = "malformed|empty"
    yield bad("other-normal", b"2c2\n< beta\n---\n> BETA\n", found)
    yield bad("other-ed", b"2c\nBETA\n.\n", found)
    yield bad("other-ed-shell", b"diff -e a.txt a.txt\n!touch /tmp/pwned\n.\nw\n", found)
    context = (
        b"*** a.txt\n--- a.txt\n***************\n*** 1,3 ****\n  alpha\n! beta\n  gamma\n"
        b"--- 1,3 ----\n  alpha\n! BETA\n  gamma\n"
    )
    yield bad("other-context", context, found)
    combined = (
        b"diff --cc a.txt\nindex 1111111,2222222..3333333\n--- a/a.txt\n+++ b/a.txt\n"
        b"@@@ -1,2 -1,2 +1,2 @@@\n  alpha\n- beta\n -Beta\n++BETA\n"
    )
    yield bad("other-combined", combined, found, also="conflict declared_mismatch")
    index = b"Index: a.txt\n" + b"=" * 67 + b"\n@@ -2 +2 @@\n-beta\n+BETA\n"
    yield bad("other-index-only", index, found)
    encoded = mail(b"").replace(b"---\n", b"\n") + base64.encodebytes(EDIT)
    yield bad("other-encoded-mail", encoded, found)
    prereq = b"Prereq: 1.0\n*** /dev/null\n--- a.txt\n"
    yield bad("other-prereq", prereq, found)


def conflicts() -> Iterator[Case]:
    found = "conflict"
    elsewhere = EDIT.replace(b"-beta", b"-bEtA")
    yield bad("conflict-other-line", elsewhere, found, "a.txt")
    yield bad("conflict-other-context", EDIT.replace(b" gamma", b" GAMMA"), found, "a.txt")
    missing = EDIT.replace(b"a.txt", b"missing.txt")
    yield bad("conflict-missing", missing, found, "missing.txt")
    yield bad("conflict-new-exists", create("b.txt"), found, "b.txt")
    gone = delete("b.txt").replace(b"-two", b"-TWO")
    yield bad("conflict-deletes-other-content", gone, found, "b.txt")
    lost = rename("a.txt", "z.txt").replace(b"a.txt", b"missing.txt")
    yield bad("conflict-rename-missing", lost, found, "missing.txt")
    yield bad("conflict-rename-onto", rename("a.txt", "b.txt"), found, "b.txt")
    done = EDIT.replace(b"-beta\n+BETA", b"-BETA\n+beta")
    yield bad("conflict-already-applied", done, found, "a.txt")
    both = edit("b.txt", "two", "2") + elsewhere
    yield bad("conflict-second-file", both, found, "a.txt")
    first = EDIT + EDIT
    yield bad("conflict-twice", first, found, "a.txt", also="malformed")
    delta = binary_delta("assets/large.bin", copy_command(10), 10)
    other = delta.replace(b"assets/large.bin", b"assets/logo.png")
    yield bad("conflict-delta-on-other", other, "conflict|malformed")
