"""Honest patches: refusing one of these costs somebody a day's work."""

import hashlib
import uuid
from collections.abc import Iterator

from tests.hostile.base import BASE, BULK, FILE, LINK, PROGRAM, TEST, lines, pseudo_random
from tests.hostile.cases import Case, good
from tests.hostile.corpus.contents import token
from tests.hostile.writing import (
    binary,
    binary_delta,
    blob_id,
    chmod,
    chunk,
    copy,
    copy_command,
    create,
    delete,
    edit,
    header,
    hunks,
    joined,
    mail,
    plain,
    rename,
    rewrite,
)

EDIT = edit("a.txt", "beta", "BETA")
A = {"a.txt": "modified"}


def cases() -> Iterator[Case]:
    yield from edits()
    yield from spelled_otherwise()
    yield from files()
    yield from unusual_names()
    yield from allowed()
    yield from looks_bad()
    yield from at_the_limit()


def edits() -> Iterator[Case]:
    def changed(path: str, old: str | bytes, new: str | bytes) -> Case:
        return good(f"edit-{path}", edit(path, old, new), {path: "modified"})

    yield changed("a.txt", "beta", "BETA")
    yield changed("src/app.py", "2 * x", "x + x")
    yield changed("src/deep/er/mod.py", "1", "3")
    yield changed("docs/guide.md", "Guide 20", "Guide twenty\nGuide twenty and a half")
    yield changed("tests/test_util.py", "True", "1 == 1")
    yield changed("tests/test_app.py", "double(0) == 0", "double(3) == 6")
    yield changed("crlf.txt", b"three\r\n", b"3\r\n")
    yield changed("noeol.txt", "last", "the last")
    yield changed("with space.txt", "blank", "space")
    yield changed("\u00fcberblick.md", "Text", "M\u00fc\u00dfiger Text \u2014 \u65e5\u672c\u8a9e")
    yield changed("docs/caf\u00e9.txt", "au lait", "noir")
    yield changed("notes.hid", "plain", "simple")
    yield changed("README.md", "Some words.", "")
    yield good("edit-first-line", edit("long.txt", "line 1\n", ""), {"long.txt": "modified"})
    yield good("edit-last-line", edit("long.txt", "line 300\n", ""), {"long.txt": "modified"})
    many = BASE["long.txt"].data.replace(b"0\n", b"0!\n")
    yield good("edit-many-hunks", rewrite("long.txt", many), {"long.txt": "modified"})
    whole = rewrite("long.txt", lines(300, "other"))
    yield good("edit-every-line", whole, {"long.txt": "modified"})
    two = EDIT + edit("src/util.py", "import os", "import os\nimport sys")
    yield good("edit-two-files", two, {"a.txt": "modified", "src/util.py": "modified"})
    with_end = rewrite("noeol.txt", b"first\nlast\n")
    yield good("edit-adds-newline-at-end", with_end, {"noeol.txt": "modified"})
    without = rewrite("a.txt", BASE["a.txt"].data.rstrip(b"\n"))
    yield good("edit-removes-newline-at-end", without, A)
    yield good("edit-crlf-added", edit("crlf.txt", b"two\r\n", b"two\r\n2.5\r\n"),
               {"crlf.txt": "modified"})  # fmt: skip
    yield good("edit-emptied", rewrite("a.txt", b""), A)
    more_tests = rewrite("tests/test_app.py", TEST + b"\n\ndef test_more():\n    assert True\n")
    yield good("edit-more-tests", more_tests, {"tests/test_app.py": "modified"})


def spelled_otherwise() -> Iterator[Case]:
    """The same edit as other programs write it."""
    hunk = EDIT[EDIT.index(b"@@") :]
    yield good("text-plain-unified", plain("a/a.txt", "b/a.txt", hunk), A)
    stamped = plain("a/a.txt\t2025-11-01 10:00:00", "b/a.txt\t2025-11-01 10:00:01", hunk)
    yield good("text-timestamps", stamped, A)
    yield good("text-mail", mail(EDIT), A)
    unicode_mail = mail(EDIT, "=?UTF-8?q?Stra=C3=9Fe?=", "Diff of --- and +++ lines.\n")
    yield good("text-mail-unicode", unicode_mail, A)
    yield good("text-prose-before", b"Please apply this.\n\n" + EDIT, A)
    yield good("text-footer", EDIT + b"-- \n2.39.5\n\n", A)
    without_index = b"".join(
        line for line in EDIT.splitlines(keepends=True) if not line.startswith(b"index ")
    )
    yield good("text-without-index-line", without_index, A)
    short = EDIT.replace(blob_id(BASE["a.txt"].data).encode(), b"1234567")
    yield good("text-short-index-line", short, A)
    named = EDIT.replace(b" @@\n", b" @@ def function(with words):\n")
    yield good("text-function-name", named, A)
    file = BASE["a.txt"].data
    one_line = EDIT[: EDIT.index(b"@@")] + hunks(file, file.replace(b"beta", b"BETA"), 1)
    yield good("text-one-line-of-context", one_line, A)
    first = hunk.partition(b"\n")[0]
    moved = EDIT.replace(first, b"@@ -1,4 +2,4 @@")
    yield good("text-offset", moved, A)
    quoted = edit("\u00fcberblick.md", "Text", "Texte")
    assert b'"a/\\303\\274' in quoted
    yield good("text-quoted-name", quoted, {"\u00fcberblick.md": "modified"})
    unquoted = quoted.replace(b'"a/\\303\\274berblick.md"', "a/\u00fcberblick.md".encode())
    unquoted = unquoted.replace(b'"b/\\303\\274berblick.md"', "b/\u00fcberblick.md".encode())
    yield good("text-unquoted-name", unquoted, {"\u00fcberblick.md": "modified"})
    other = EDIT.replace(b" a/a.txt", b" i/a.txt").replace(b" b/a.txt", b" w/a.txt")
    yield good("text-mnemonic-prefixes", other, A)
    index = b"Index: a.txt\n" + b"=" * 67 + b"\n" + plain("a/a.txt", "b/a.txt", hunk)
    yield good("text-index-line", index, A)


def files() -> Iterator[Case]:
    yield good("file-new", create("src/new.py", "x = 1\n"), {"src/new.py": "added"})
    yield good("file-new-folder", create("x/y/z/new.py", "x\n"), {"x/y/z/new.py": "added"})
    yield good("file-new-empty", create("src/__init__.py", ""), {"src/__init__.py": "added"})
    yield good("file-new-crlf", create("win.bat", b"@echo off\r\nrem\r\n"), {"win.bat": "added"})
    yield good("file-new-no-newline", create("VERSION", "1.0"), {"VERSION": "added"})
    test = create("tests/test_new.py", "def test_one():\n    assert True\n")
    yield good("file-new-test", test, {"tests/test_new.py": "added"})
    yield good("file-delete", delete("b.txt"), {"b.txt": "deleted"})
    yield good("file-delete-from-folder", delete("src/util.py"), {"src/util.py": "deleted"})
    yield good("file-rename", rename("a.txt", "docs/a.txt"), {"docs/a.txt": "renamed"})
    yield good("file-rename-case", rename("a.txt", "A.txt"), {"A.txt": "renamed"})
    edited = BASE["long.txt"].data.replace(b"line 9\n", b"line nine\n")
    renamed = rename("long.txt", "longer.txt", edited)
    yield good("file-rename-and-edit", renamed, {"longer.txt": "renamed"})
    moved = rename("tests/test_util.py", "tests/unit/test_util.py")
    yield good("file-rename-test", moved, {"tests/unit/test_util.py": "renamed"})
    yield good("file-copy", copy("b.txt", "docs/b.txt"), {"docs/b.txt": "added"})
    swap = delete("src/util.py") + create("src/tools.py", "def tool():\n    pass\n")
    yield good("file-swap", swap, {"src/util.py": "deleted", "src/tools.py": "added"})
    same = delete("long.txt") + create("longer.txt", BASE["long.txt"].data)
    yield good("file-rename-told-in-two-parts", same, {"longer.txt": "renamed"})
    rewritten = rename("a.txt", "z.txt", b"nothing\nof\nthe\nold\n")
    yield good("file-rename-rewritten", rewritten, {"a.txt": "deleted", "z.txt": "added"})
    swapped = rename("a.txt", "b.txt") + rename("b.txt", "a.txt")
    yield good("file-rename-swap", swapped, {"a.txt": "modified", "b.txt": "modified"})
    source = copy("b.txt", "docs/b.txt") + edit("b.txt", "two", "2")
    yield good("file-copy-of-edited", source, {"docs/b.txt": "added", "b.txt": "modified"})
    blank = rename("with space.txt", "with two spaces.txt")
    yield good("file-rename-blanks", blank, {"with two spaces.txt": "renamed"})
    odd = rename("\u00fcberblick.md", "docs/\u00dcbersicht.md")
    yield good("file-rename-quoted", odd, {"docs/\u00dcbersicht.md": "renamed"})
    scope = {"scope": ("src/**",), "create": ("docs/**",)}
    new = create("docs/new.md") + edit("src/app.py", "2 * x", "x + x")
    yield good(
        "scope-create-there", new, {"docs/new.md": "added", "src/app.py": "modified"}, **scope
    )
    into = rename("src/util.py", "docs/util.txt")
    yield good("scope-rename-into", into, {"docs/util.txt": "renamed"}, **scope)
    yield good("scope-exact", EDIT, A, scope=("/a.txt",))
    yield good("scope-any-depth", create("x/y.txt"), {"x/y.txt": "added"}, scope=("*.txt",))
    inside = {"scope": ("src/**",), "policy": {"forbid": ["src/deep/**"]}}
    patch = edit("src/app.py", "2 * x", "x + x")
    yield good("scope-beside-forbidden", patch, {"src/app.py": "modified"}, **inside)


def unusual_names() -> Iterator[Case]:
    """Legal on every system; a shell would choke on some, and nothing of ours is a shell."""
    names = (
        *("name with  blanks.txt", "\u65e5\u672c\u8a9e.txt", "\u0434\u043e\u043a/a.md"),
        *("caf\u00e9-noir.txt", "emoji-\U0001f680.txt", "$(touch pwned).txt", "`touch pwned`.txt"),
        *("a;touch pwned", "a && b.txt", "$HOME.txt", "it's.txt", "100%.txt", "a#b.txt", "~a.txt"),
        *("[brackets].txt", "{braces},x.txt", "a=b.txt", "@file", "!bang", "+plus", "a--b.txt"),
        *(".hidden", ".github-notes.txt", ".gitignore", "git", "x.git/file", "src/.gitkeep"),
        *("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645.md", "\u0915\u094d\u200d\u0937.txt"),
        *("\U0001f469\u200d\U0001f4bb.md", "\u2764\ufe0f\u200d\U0001f525.md"),
        *("console.txt", "communication.py", "nulls.py", "com10.txt", "auxiliary/x.py"),
    )  # fmt: skip
    for path in names:
        yield good(f"name-{path}", create(path), {path: "added"})


def allowed() -> Iterator[Case]:
    """What the plan's policy allows."""
    noise = pseudo_random(500)
    binaries = {"policy": {"allow_binary": True}}
    yield good("allowed-binary", binary("x.bin", noise), {"x.bin": "added"}, **binaries)
    logo = "assets/logo.png"
    yield good("allowed-binary-edit", binary(logo, noise), {logo: "modified"}, **binaries)
    large = BASE["assets/large.bin"].data
    result = b"abc" + large[:65536]
    delta = binary_delta(
        "assets/large.bin", b"\x03abc" + copy_command(0x10000), len(result), blob_id(result)
    )
    delta = delta[: delta.rindex(b"delta ")] + chunk("literal", large)
    yield good("allowed-binary-delta", delta, {"assets/large.bin": "modified"}, **binaries)
    programs = {"policy": {"allow_exec": True}}
    yield good("allowed-exec", chmod("a.txt", PROGRAM), A, **programs)
    run = create("run.sh", "#!/bin/sh\n", PROGRAM)
    yield good("allowed-exec-new", run, {"run.sh": "added"}, **programs)
    blank = chmod("with space.txt", PROGRAM)
    yield good("allowed-exec-blank", blank, {"with space.txt": "modified"}, **programs)
    moved = rename("bin/run.sh", "bin/start.sh")
    yield good("allowed-exec-moved", moved, {"bin/start.sh": "renamed"})
    links = {"policy": {"allow_symlinks": True}}
    instead = delete("a.txt") + create("a.txt", "b.txt", LINK)
    yield good("allowed-link-for-file", instead, {"a.txt": "type_changed"}, **links)
    inside = create("src/l.py", "app.py", LINK)
    yield good("allowed-link", inside, {"src/l.py": "added"}, **links)
    up = create("src/guide", "../docs/guide.md", LINK)
    yield good("allowed-link-up-inside", up, {"src/guide": "added"}, **links)
    retarget = rewrite("link", b"b.txt")
    yield good("allowed-link-retarget", retarget, {"link": "modified"}, **links)
    yield good("allowed-link-delete", delete("link"), {"link": "deleted"}, **links)
    tests = {"policy": {"allow_test_removal": True}}
    gone = delete("tests/test_util.py")
    yield good("allowed-test-removal", gone, {"tests/test_util.py": "deleted"}, **tests)
    make = edit("Makefile", "pytest -q", "pytest")
    makefile = {"policy": {"allow_protected": ["Makefile"]}}
    yield good("allowed-protected", make, {"Makefile": "modified"}, **makefile)
    attributes = create("docs/.gitattributes", "*.png -text\n*.md text eol=lf\n")
    permitted = {"policy": {"allow_protected": [".gitattributes"]}}
    yield good("allowed-attributes", attributes, {"docs/.gitattributes": "added"}, **permitted)
    text = token("github")
    known = {"policy": {"allow_secrets": [hashlib.sha256(text.encode()).hexdigest()]}}
    yield good("allowed-secret", create("x.py", f"KEY = '{text}'\n"), {"x.py": "added"}, **known)


def looks_bad() -> Iterator[Case]:
    digest = hashlib.sha512(b"lock").hexdigest()
    lock = f'"integrity": "sha512-{digest}"\nsha256 = "{digest[:64]}"\ncommit: {digest[:40]}\n'
    yield good("looks-hashes", create("deps.lock", lock), {"deps.lock": "added"})
    ids = f"id: {uuid.uuid5(uuid.NAMESPACE_DNS, 'x')}\n"
    yield good("looks-uuid", create("ids.yaml", ids), {"ids.yaml": "added"})
    words = (
        "pass" + "word = 'changeme'\napi_key = os.environ['API_KEY']\nTOKEN = ''\n"
        "secret = get_secret('name')\n# a token such as AKIA... goes here\n"
    )
    yield good("looks-placeholders", create("src/conf.py", words), {"src/conf.py": "added"})
    examples = (
        "curl -u user:password https://example.org\ncurl -u $USER:$PASS_1 https://example.org\n"
        "machine example.org login ann password changeme\n<password>${db.password1}</password>\n"
        "<password>{COQLCE6DU6GtcS5P=}</password>\ntool --password <your-password-1>\n"
        "KEY=gh" + "p_" + "x" * 36 + "\nid = 'AKI" + "AIOSFODNN7EXAMPLE'\n"
    )
    yield good("looks-logins", create("docs/logins.md", examples), {"docs/logins.md": "added"})
    removed = edit("settings.py", "NAME", "OTHER")
    yield good("looks-settings", removed, {"settings.py": "modified"})
    # A removed line `-- a/b.txt` and an added one `++ b/b.txt` are no header of another file.
    sql = edit("query.sql", "-- a/b.txt\n++ b/b.txt\n", "++ b/b.txt\n@@ -1 +1 @@\n")
    yield good("looks-like-headers", sql, {"query.sql": "modified"})
    text = "diff --git a/x b/x\nold mode 100644\nnew mode 100755\n@@ -1 +1 @@\nGIT binary patch\n"
    yield good(
        "looks-patch-in-a-file", create("docs/example.txt", text), {"docs/example.txt": "added"}
    )
    returned = rewrite(
        "crlf.txt", BASE["crlf.txt"].data.replace(b"two", b"2").replace(b"four", b"4")
    )
    yield good("looks-crlf-edit", returned, {"crlf.txt": "modified"})
    pasted = BASE["long.txt"].data.replace(b"line 7\n", b"another 7\r\n")
    yield good("looks-crlf-pasted", rewrite("long.txt", pasted), {"long.txt": "modified"})
    trailing = edit("a.txt", "beta\n", "beta  \n\t\n")
    yield good("looks-trailing-blanks", trailing, A)
    escapes = create("docs/ansi.txt", "\x1b[31mred\x1b[0m\x07\n")
    yield good("looks-terminal-codes", escapes, {"docs/ansi.txt": "added"})
    nothing = header("a.txt", "a.txt").replace(b"diff", b"See diff") + EDIT
    yield good("looks-header-in-prose", nothing, A)


def at_the_limit() -> Iterator[Case]:
    big = create("big.txt", lines(85_000))
    assert 900_000 < len(big) < 1 << 20
    yield good("limit-bytes", big, {"big.txt": "added"})
    many = joined([create(f"many/{number}.txt", f"{number}\n") for number in range(100)])
    effects = {f"many/{number}.txt": "added" for number in range(100)}
    yield good("limit-files", many, effects)
    marks = create("marks.txt", b"@@ -1 +1 @@\n" * 6000)
    yield good("limit-hunks-in-content", marks, {"marks.txt": "added"})
    half = [f"bulk/f{number:02}.txt" for number in range(BULK)][: len(BASE) // 2]
    gone = joined([delete(path) for path in half])
    yield good("limit-half-deleted", gone, dict.fromkeys(half, "deleted"))
    zeros = binary("zeros.bin", bytes(7 << 20))
    yield good("limit-inflated", zeros, {"zeros.bin": "added"}, policy={"allow_binary": True})
    assert BASE["a.txt"].mode == FILE
