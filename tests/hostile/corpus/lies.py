"""Texts that say one thing and do another."""

from collections.abc import Iterator

from tests.hostile.cases import Case, bad
from tests.hostile.writing import copy, create, delete, edit, header, mail, plain, rename

APP = edit("src/app.py", "2 * x", "x + x")
OTHER = edit("b.txt", "two", "2")
HUNK = OTHER[OTHER.index(b"@@") :]
SRC = ("src/**",)
LIE = "declared_mismatch|malformed"


def cases() -> Iterator[Case]:
    yield from headers()
    yield from moves()
    yield from hidden()
    yield from line_ends()


def headers() -> Iterator[Case]:
    named = OTHER[OTHER.index(b"---") :]
    says_app = header("src/app.py", "src/app.py") + named
    yield bad("lie-header-names-another", says_app, LIE, scope=SRC, also="out_of_scope")
    yield bad("lie-header-names-another-in-scope", says_app, LIE)
    half = OTHER.replace(b"+++ b/b.txt", b"+++ b/src/app.py")
    yield bad("lie-plus-names-another", half, LIE + "|conflict")
    half = OTHER.replace(b"--- a/b.txt", b"--- a/src/app.py")
    yield bad("lie-minus-names-another", half, LIE + "|conflict")
    two = plain("a/src/app.py", "b/b.txt", HUNK)
    yield bad("lie-plain-two-names", two, LIE + "|conflict|out_of_scope", scope=SRC)
    yield bad("lie-plain-two-names-in-scope", two, LIE + "|conflict")
    two = header("src/app.py", "b.txt") + plain("a/src/app.py", "b/b.txt", HUNK)
    yield bad("lie-git-two-names", two, LIE + "|conflict", also="out_of_scope")
    index = b"Index: src/app.py\n" + b"=" * 67 + b"\n" + plain("a/b.txt", "b/b.txt", HUNK)
    yield bad("lie-index-line", index, "out_of_scope|declared_mismatch", scope=SRC)
    stamped = plain("a/src/app.py\t2025-01-01", "b/b.txt\t1970-01-01 00:00:00 +0000", HUNK)
    yield bad("lie-timestamps", stamped, LIE + "|conflict|out_of_scope", scope=SRC)
    new = create("src/new.py").replace(b"a/src/new.py b/src/new.py", b"src/new.py src/new.py")
    new = new.replace(b"b/src/new.py", b"src/new.py")
    # Git takes the first folder for a prefix and would make `new.py` at the top.
    yield bad("lie-without-prefix", new, LIE)
    both = APP.replace(b"a/src", b"src").replace(b"b/src", b"src")
    yield bad("bare-edit", both, "malformed")
    yield bad("bare-plain", both[both.index(b"--- ") :], "malformed")
    moved = rename("src/util.py", "src/tools.py")
    bare = moved.replace(b"a/src", b"src").replace(b"b/src", b"src")
    yield bad("bare-rename", bare, "malformed")
    missing = OTHER.replace(b"index ", b"new file mode 100644\nindex ", 1)
    yield bad("lie-new-file-exists", missing, LIE + "|conflict", also="mode")
    gone = OTHER.replace(b"index ", b"deleted file mode 100644\nindex ", 1)
    yield bad("lie-deleted-keeps", gone, LIE + "|conflict")
    null = OTHER.replace(b"--- a/b.txt", b"--- /dev/null")
    yield bad("lie-null-but-edit", null, LIE + "|conflict")
    null = OTHER.replace(b"+++ b/b.txt", b"+++ /dev/null")
    yield bad("lie-null-but-kept", null, LIE + "|conflict")
    mode_twice = create("new.txt").replace(b"index ", b"deleted file mode 100644\nindex ", 1)
    yield bad("lie-new-and-deleted", mode_twice, LIE + "|conflict|empty")
    quoted = OTHER.replace(b"+++ b/b.txt", b'+++ "b/\\141.txt"')
    yield bad("lie-quoted-differently", quoted, LIE + "|conflict")


def moves() -> Iterator[Case]:
    to_other = APP.replace(b"index ", b"rename from src/app.py\nrename to app.py\nindex ", 1)
    also = "out_of_scope"
    yield bad("lie-rename-in-an-edit", to_other, LIE, also=also)
    to_other = APP.replace(b"index ", b"copy from src/app.py\ncopy to app.py\nindex ", 1)
    yield bad("lie-copy-in-an-edit", to_other, LIE, also=also)
    from_other = APP.replace(b"index ", b"rename from b.txt\nrename to src/app.py\nindex ", 1)
    yield bad("lie-rename-from-another", from_other, LIE + "|conflict", also=also)
    moved = rename("a.txt", "z.txt").replace(b"b/z.txt", b"b/y.txt")
    yield bad("lie-rename-to-another", moved, LIE)
    twice = rename("a.txt", "z.txt").replace(
        b"rename to z.txt", b"rename to z.txt\nrename to y.txt"
    )
    yield bad("lie-rename-to-twice", twice, LIE)
    mixed = rename("a.txt", "z.txt").replace(b"rename to", b"copy to")
    yield bad("lie-rename-from-copy-to", mixed, LIE)
    named = rename("a.txt", "z.txt", b"alpha\nbeta\ngamma\nomega\n").replace(
        b"+++ b/z.txt", b"+++ b/y.txt"
    )
    yield bad("lie-rename-other-plus", named, LIE)
    quoted = rename("a.txt", "z.txt").replace(b"rename to z.txt", b'rename to "\\171.txt"')
    yield bad("lie-rename-quoted", quoted, LIE)
    stepping = create("step.txt") + rename("a.txt", "z.txt").replace(b"a.txt", b"step.txt")
    yield bad("lie-stepping-stone", stepping, "declared_mismatch|malformed|conflict")
    undone = OTHER + OTHER.replace(b"-two\n+2", b"-2\n+two") + APP
    yield bad("lie-undone", undone, "declared_mismatch|malformed|conflict")
    nothing = APP + header("b.txt", "b.txt")
    yield bad("lie-header-without-change", nothing, LIE)
    swap = copy("b.txt", "src/b.py") + delete("b.txt")
    yield bad(
        "lie-copy-and-delete", swap, "out_of_scope", "b.txt", scope=SRC, also="declared_mismatch"
    )


def hidden() -> Iterator[Case]:
    """A second file where a reader, or a naive parser, sees none."""
    found, where = "out_of_scope", {"scope": SRC, "also": "declared_mismatch malformed"}
    unseen = plain("a/b.txt", "b/b.txt", HUNK)
    yield bad("hidden-after-a-footer", mail(APP) + unseen, found, "b.txt", **where)
    in_a_message = mail(APP, body=unseen.decode())
    yield bad("hidden-in-a-message", in_a_message, "out_of_scope|malformed", **where)
    before = b"commit 1234567\n\n    words\n\n" + unseen + b"\n"
    yield bad("hidden-before", before + APP, found, "b.txt", **where)
    many = APP + b"\n" * 500 + unseen
    yield bad("hidden-after-blanks", many, found, "b.txt", **where)
    beside = APP + b"# " + b" " * 4000 + b"\n" + unseen
    yield bad("hidden-after-a-long-line", beside, found, "b.txt", **where)
    returns = APP + b"harmless\r\x1b[2K\n" + unseen
    yield bad("hidden-by-a-return", returns, found, "b.txt", **where)
    # Right behind the last line that the hunk's count allows: a reader takes it for more of it.
    yield bad("hidden-behind-a-count", APP + unseen, found, "b.txt", **where)
    second = APP + mail(OTHER, "Another")
    yield bad("hidden-second-mail", second, found, "b.txt", **where)


def line_ends() -> Iterator[Case]:
    """Header lines that end in a carriage return: is it part of the name?"""
    any_of = "path_characters|malformed|conflict|declared_mismatch|eol"
    head, _, rest = OTHER.partition(b"@@")
    returned = head.replace(b"\n", b"\r\n") + b"@@" + rest
    yield bad("return-in-headers", returned, any_of, also="mode")
    for number, line in enumerate((b"diff --git", b"--- ", b"+++ ")):
        place = OTHER.index(b"\n", OTHER.index(line))
        patch = OTHER[:place] + b"\r" + OTHER[place:]
        yield bad(f"return-in-header-{number}", patch, any_of)
    whole = OTHER.replace(b"\n", b"\r\n")
    yield bad("return-everywhere", whole, any_of, also="mode")
    unheaded = OTHER[OTHER.index(b"--- ") :]
    yield bad("return-plain-everywhere", unheaded.replace(b"\n", b"\r\n"), "malformed")
    stamped = unheaded.replace(b"b.txt\n", b"b.txt\t2025-11-01 10:00:00\r\n")
    yield bad("return-plain-behind-a-time", stamped, "malformed")
    new = create("new.txt").replace(b"b/new.txt\n", b"b/new.txt\r\n")
    yield bad("return-in-a-new-name", new, any_of)
    moved = rename("a.txt", "z.txt").replace(b"\n", b"\r\n")
    yield bad("return-in-a-rename", moved, any_of)
