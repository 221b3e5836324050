"""What a patch may not do to contents: line ends, tests, too much at once, secrets."""

import base64
import hashlib
from collections.abc import Iterator

from tests.hostile.base import BASE, BULK, FILE, TEST, lines
from tests.hostile.cases import EVERYTHING, Case, bad
from tests.hostile.writing import create, delete, edit, joined, rename, rewrite

MEBIBYTE = 1 << 20


def cases() -> Iterator[Case]:
    yield from line_ends()
    yield from removed_tests()
    yield from deletions()
    yield from sizes()
    yield from secrets()


def line_ends() -> Iterator[Case]:
    def flipped(path: str) -> bytes:
        return BASE[path].data.replace(b"\n", b"\r\n")

    always = {"policy": EVERYTHING}
    yield bad("eol-to-crlf", rewrite("a.txt", flipped("a.txt")), "eol", "a.txt", **always)
    to_lf = rewrite("crlf.txt", BASE["crlf.txt"].data.replace(b"\r", b""))
    yield bad("eol-to-lf", to_lf, "eol", "crlf.txt", **always)
    yield bad("eol-long", rewrite("long.txt", flipped("long.txt")), "eol", "long.txt")
    hidden = flipped("settings.py").replace(b"False", b"True")
    yield bad("eol-hides-an-edit", rewrite("settings.py", hidden), "eol", "settings.py")
    mostly = flipped("long.txt").replace(b"\r\n", b"\n", 30)
    yield bad("eol-mostly", rewrite("long.txt", mostly), "eol", "long.txt")
    among = edited = BASE["long.txt"].data.replace(b"line 1", b"row 1", 25)
    for number in range(201, 225):
        among = among.replace(b"line %d\n" % number, b"line %d\r\n" % number)
    yield bad("eol-among-edits", rewrite("long.txt", among), "eol", "long.txt")
    one = edited.replace(b"line 250\n", b"line 250\r\n")
    yield bad("eol-one-among-edits", rewrite("long.txt", one), "eol", "long.txt")
    # Git compares lines without their carriage returns, and so finds the rename.
    moved = rename("docs/guide.md", "docs/g.md", flipped("docs/guide.md"))
    yield bad("eol-renamed", moved, "eol", "docs/g.md")
    second = edit("b.txt", "two", "2") + rewrite("src/app.py", flipped("src/app.py"))
    yield bad("eol-second-file", second, "eol", "src/app.py")


def removed_tests() -> Iterator[Case]:
    test, found = "tests/test_app.py", "deletion"
    yield bad("tests-deleted", delete(test), found, test)
    yield bad("tests-deleted-go", delete("src/widget_test.go"), found, "src/widget_test.go")
    yield bad("tests-deleted-js", delete("web/app.test.js"), found, "web/app.test.js")
    yield bad("tests-emptied", rewrite(test, b""), found, test)
    yield bad("tests-blank", rewrite(test, b"\n\n"), found, test)
    yield bad("tests-only-comment", rewrite(test, b"# nothing to see\n"), found, test)
    yield bad("tests-moved-away", rename(test, "docs/app.txt"), found, test)
    yield bad("tests-renamed", rename(test, "src/app_old.py"), found, test)
    yield bad("tests-disabled-in-place", rename(test, "tests/app_disabled.py"), found, test)
    yield bad("tests-backup", rename(test, "tests/test_app.py.bak"), found, test)
    only_import = TEST.partition(b"\n")[0] + b"\n"
    yield bad("tests-gutted", rewrite(test, only_import), found, test)
    helpers = TEST.replace(b"def test_", b"def check_")
    yield bad("tests-functions-renamed", rewrite(test, helpers), found, test)
    package = "tests/unit/__init__.py"  # without it some runners do not enter its folder
    yield bad("tests-package-deleted", delete(package), found, package)
    yield bad("tests-package-moved", rename(package, "src/moved.py"), found, package)
    with_new = delete(test) + create("tests/test_new.py", "def test_one():\n    pass\n")
    yield bad("tests-replaced-by-another", with_new, found, test)


def deletions() -> Iterator[Case]:
    bulk = [f"bulk/f{number:02}.txt" for number in range(BULK)]
    starts = ("a.", "b.", "docs/", "src/", "long")
    files = [path for path, file in BASE.items() if file.mode == FILE]
    others = [path for path in files if path.startswith(starts)]
    enough = [*bulk, *others][: len(BASE) // 2 + 1]
    assert len(enough) <= 100
    more_than_half = joined([delete(path) for path in enough])
    also = "deletion"
    yield bad("deletion-most", more_than_half, "deletion", policy=EVERYTHING, also=also)
    blank = joined([rewrite(path, b"\n") for path in enough])
    yield bad("deletion-blanked", blank, "deletion", policy=EVERYTHING)
    with_edit = edit("query.sql", "select 1", "select 9") + more_than_half
    yield bad("deletion-most-and-edit", with_edit, "deletion", policy=EVERYTHING)
    with_new = more_than_half + joined([create(f"new/{n}.txt", f"{n}\n") for n in range(30)])
    yield bad("deletion-most-and-new", with_new, "deletion", policy=EVERYTHING)


def sizes() -> Iterator[Case]:
    allowed = {"policy": EVERYTHING}
    yield bad("oversize-bytes", create("big.txt", lines(90_000)), "oversize", **allowed)
    long_line = b"x" * (2 * MEBIBYTE) + b"\n"
    yield bad("oversize-one-line", create("big.txt", long_line), "oversize", **allowed)
    one_more = b"# " + b"x" * (MEBIBYTE - 10) + b"\n" + create("a.x", "x" * 100 + "\n")
    yield bad("oversize-padded", one_more, "oversize")
    many = joined([create(f"many/{number}.txt", f"{number}\n") for number in range(101)])
    yield bad("oversize-files", many, "oversize", **allowed)
    empty = joined([create(f"many/{number}.txt", "") for number in range(101)])
    yield bad("oversize-empty-files", empty, "oversize", **allowed)
    start = edit("a.txt", "beta", "BETA")
    hunk = b"@@ -1,1 +1,1 @@\n-x\n+y\n"
    yield bad("oversize-hunks", start + hunk * 5001, "oversize")
    few = {"policy": {"max_files": 1}}
    two = edit("a.txt", "beta", "BETA") + edit("b.txt", "two", "2")
    yield bad("oversize-by-plan-files", two, "oversize", **few)
    yield bad("oversize-by-plan-bytes", two, "oversize", policy={"max_bytes": 50})
    hunks = rewrite("long.txt", BASE["long.txt"].data.replace(b"10\n", b"ten\n"))
    yield bad("oversize-by-plan-hunks", hunks, "oversize", policy={"max_hunks": 2})
    blanks = b"\n" * (MEBIBYTE + 1)
    yield bad("oversize-blank", blanks, "oversize")
    yield bad("oversize-zeros", bytes(MEBIBYTE + 1), "oversize")


# -- secrets: made here from parts, so that no scanner takes this file for a leak ---------------


def letters(count: int, seed: str) -> str:
    """Letters and digits as random as a token's."""
    made = ""
    while len(made) < count:
        digest = hashlib.sha512(f"{seed}{len(made)}".encode()).digest()
        made += base64.b64encode(digest).decode().translate(str.maketrans("", "", "+/="))
    return made[:count]


def upper(count: int, seed: str) -> str:
    """Upper-case letters and digits in which a key id is spelled."""
    digest = hashlib.sha512(seed.encode()).digest()
    return base64.b32encode(digest).decode()[:count]


def token(part: str) -> str:
    """A made-up token of the kind."""
    web = base64.urlsafe_b64encode
    head = web(b'{"alg":"HS256","typ":"JWT"}').decode().rstrip("=")
    body = web(b'{"sub":"1234567890","name":"Ann","admin":true}').decode().rstrip("=")
    made = {
        "aws": "AK" + "IA" + upper(16, "aws"),
        "github": "gh" + "p_" + letters(36, "github"),
        "github-fine": "github" + "_pat_" + letters(22, "fine") + "_" + letters(59, "grained"),
        "gitlab": "glp" + "at-" + letters(20, "gitlab"),
        "slack": "xo" + "xb-" + "123456789012-123456789012-" + letters(24, "slack"),
        "google": "AI" + "za" + letters(35, "google"),
        "stripe": "sk" + "_live_" + letters(24, "stripe"),
        "openai": "sk" + "-proj-" + letters(48, "openai"),
        "anthropic": "sk" + "-ant-api03-" + letters(93, "anthropic") + "AA",
        "npm": "np" + "m_" + letters(36, "npm"),
        "pypi": "py" + "pi-AgEIcHlwaS5vcmc" + letters(150, "pypi"),
        "jwt": f"{head}.{body}.{letters(43, 'jwt')}",
        "discord": base64.b64encode(b"123456789012345678").decode() + ".Gx4-aB." + letters(38, "d"),
        "telegram": "123456789:A" + "A" + letters(33, "telegram"),
        "twilio": "S" + "K" + hashlib.md5(b"twilio").hexdigest(),
        "sendgrid": "SG" + f".{letters(22, 'send')}.{letters(43, 'grid')}",
        "slack-hook": "https://hooks.slack" + ".com/services/T01/B02/" + letters(24, "hook"),
        "age": "AGE-SECRET" + "-KEY-1" + upper(58, "age"),
        "azure": "Account" + f"Key={letters(86, 'azure')}==",
    }
    return made[part]


KINDS = (
    *("aws", "github", "github-fine", "gitlab", "slack", "google", "stripe", "openai"),
    *("anthropic", "npm", "pypi", "jwt", "discord", "telegram", "twilio", "sendgrid"),
    *("slack-hook", "age", "azure"),
)
PASSWORD = "q7" + letters(14, "password") + "4x"
LOGINS = {
    "curl": f"curl -u ann:{PASSWORD} https://example.org\n",
    "netrc": f"machine example.org\n  login ann\n  password {PASSWORD}\n",
    "xml": f"<server>\n  <password>{PASSWORD}</password>\n</server>\n",
    "command": f"mysqldump --password={PASSWORD} shop\n",
    "settings": f"smtp.pass{'word'}=!{PASSWORD}%\n",
    "putty": "Private" + "-Lines: 2\n" + f"{letters(64, 'one')}\n{letters(64, 'two')}\n",
}


def pem(kind: str = "RSA ") -> str:
    """A made-up private key."""
    dashes = "-" * 5
    body = "\n".join(letters(64, f"pem{number}") for number in range(12))
    return (
        f"{dashes}BEGIN {kind}PRIVATE KEY{dashes}\n{body}\n{dashes}END {kind}PRIVATE KEY{dashes}\n"
    )


def secrets() -> Iterator[Case]:
    for kind in KINDS:
        patch = edit("settings.py", "NAME", f"VALUE = '{token(kind)}'\nNAME")
        yield bad(f"secret-{kind}", patch, "secret", "settings.py", policy=EVERYTHING)
    for kind in ("RSA ", "OPENSSH ", "EC ", ""):
        patch = create("docs/key.txt", pem(kind))
        yield bad(f"secret-pem-{kind.strip()}", patch, "secret", "docs/key.txt")
    for kind, text in LOGINS.items():
        patch = create("docs/login.txt", text)
        yield bad(f"secret-{kind}", patch, "secret", "docs/login.txt", policy=EVERYTHING)
    generic = "pass" + f"word = '{letters(32, 'generic')}'\n"
    yield bad("secret-generic", create("src/conf.py", generic), "secret", "src/conf.py")
    named = f'  "api_{"k"}ey": "{letters(40, "json")}",\n'
    yield bad("secret-generic-json", create("conf.json", named), "secret", "conf.json")
    moved = rename(
        "settings.py", "conf.py", BASE["settings.py"].data + token("aws").encode() + b"\n"
    )
    yield bad("secret-renamed", moved, "secret", "conf.py")
    test = create("src/example.py", f"KEY = '{token('github')}'")
    yield bad("secret-without-newline", test, "secret", "src/example.py")
    padded = "x = '" + "ab " * 60_000 + token("github") + " cd" * 60_000 + "'\n"
    yield bad("secret-in-a-long-line", create("src/long.py", padded), "secret", "src/long.py")
    escaped = "KEY = '" + pem().replace("\n", "\\n") + "'\n"
    yield bad("secret-pem-in-a-string", create("src/pem.py", escaped), "secret", "src/pem.py")
    returned = create("src/key.py", f"KEY = '{token('aws')}'\r\n")
    yield bad("secret-crlf", returned, "secret", "src/key.py")
    other = {"policy": {"allow_secrets": [hashlib.sha256(b"another").hexdigest()]}}
    yield bad("secret-another-allowed", test, "secret", "src/example.py", **other)
