"""Names that lie to people, terminals, shells and other systems."""

from collections.abc import Iterator

from tests.hostile.base import FILE, NFD
from tests.hostile.cases import EVERYTHING, Case, bad
from tests.hostile.writing import copy, create, edit, rename

CHARACTERS = {
    "newline": "a\nb.txt",
    "newline-header": "x\n+++ b/b.txt",
    "tab": "a\tb.txt",
    "return": "a.txt\r",
    "bell": "a\x07.txt",
    "escape": "\x1b[2J\x1b[31mred.txt",
    "osc": "\x1b]0;title\x07.txt",
    "backspace": "evil\x08\x08\x08\x08good.txt",
    "delete": "a\x7f.txt",
    "c1-next-line": "a\x85b.txt",
    "c1-csi": "a\x9b31m.txt",
    "bidi-override": "src/\u202etxt.exe",
    "bidi-embedding": "a\u202bb.txt",
    "bidi-isolate": "src/a\u2066b\u2069.py",
    "bidi-mark": "a\u200eb.txt",
    "arabic-mark": "a\u061cb.txt",
    "zero-width-space": "src/ap\u200bp.py",
    "zero-width-joiner": "a\u200d.txt",
    "zero-width-non-joiner": "conf\u200ctest.txt",
    "joiner-among-digits": "\u0661\u200c\u0662.txt",
    "joiner-twice": "\u0645\u200c\u200c\u062e.txt",
    "joiner-after-emoji": "\u2764\u200d.txt",
    "word-joiner": "a\u2060.txt",
    "byte-order-mark": "\ufeffa.txt",
    "soft-hyphen": "a\u00ad.txt",
    "line-separator": "a\u2028b.txt",
    "paragraph-separator": "a\u2029b.txt",
    "tag": "a\U000e0041.txt",
    "variation": "a\ufe0f.txt",
    "not-utf8": "caf\udce9.txt",
    "not-utf8-folder": "d\udcff/a.txt",
    "overlong": "src/a\udcc0\udcafb",
    "surrogate": "a\udced\udca0\udc80.txt",
    "dash": "-rf",
    "dash-option": "--output=x",
    "dash-folder": "-x/a.txt",
    "blank-first": " a.txt",
    "blank-last": "a.txt ",
    "blank-only": "src/ /a.txt",
    "no-break-space": "a.txt\u00a0",
}
COLLISIONS = {
    "upper": ("README.MD",),
    "one-letter": ("A.txt",),
    "folder": ("SRC/app.py",),
    "deep-folder": ("src/Deep/er/mod.py",),
    "within": ("new/one.txt", "new/ONE.txt"),
    "within-folders": ("new/x/a.txt", "NEW/x/a.txt"),
    "nfd": (NFD,),
    "nfd-upper": (NFD.replace("cafe", "CAFE"),),
    "within-nfd": ("new/\u00e5.txt", "new/a\u030a.txt"),
    "umlaut": ("\u00dcBERBLICK.md",),
    "within-joiner": ("new/\u0645\u06cc\u062e.txt", "new/\u0645\u06cc\u200c\u062e.txt"),
    "within-emoji": ("new/\u2764.md", "new/\u2764\ufe0f.md"),
    "kelvin": ("new/k.txt", "new/\u212a.txt"),
    "file-for-folder": ("SRC",),
    "folder-for-file": ("A.TXT/inner.txt",),
    "folder-for-deep-file": ("src/APP.PY/x.py",),
}
WINDOWS = (
    *("CON", "con.txt", "src/NUL", "aux.c", "PRN.md", "COM1", "com9.log", "LPT1.txt", "lpt9"),
    *("src/aux/x.py", "CONIN$", "conout$", "COM\u00b9", "NUL.tar.gz", "trailing.", "src/dots../x"),
    *("a<b.txt", "a>b.txt", "a|b.txt", "a?b.txt", "a*b.txt", 'a"b.txt', "file.txt:stream"),
)


def cases() -> Iterator[Case]:
    for name, path in CHARACTERS.items():
        yield bad(
            *(f"characters-{name}", create(path), "path_characters"),
            path,
            also="windows_name git_dir",
            policy=EVERYTHING,
        )
    yield bad("characters-nul", NUL, "path_characters|malformed|declared_mismatch")
    yield bad("characters-rename", rename("a.txt", "a\x1b.txt"), "path_characters", "a\x1b.txt")
    yield bad("characters-copy", copy("a.txt", "a\u202e.txt"), "path_characters", "a\u202e.txt")
    for name, paths in COLLISIONS.items():
        patch = b"".join(create(path) for path in paths)
        # Which of the two is named is open, unless the other is in the base.
        path = paths[0] if len(paths) == 1 else None
        yield bad(f"collision-{name}", patch, "path_collision", path, policy=EVERYTHING)
    yield bad("collision-rename", rename("a.txt", "B.txt"), "path_collision", "B.txt")
    yield bad("collision-copy", copy("a.txt", "A.txt"), "path_collision", "A.txt")
    yield bad("collision-file-over-folder", create("src"), "path_collision|conflict")
    yield bad("collision-folder-over-file", create("a.txt/x"), "path_collision|conflict")
    both = create("new", "x\n", FILE) + create("new/x", "x\n")
    yield bad("collision-file-and-folder", both, "path_collision|conflict|malformed")
    for path in WINDOWS:
        also = "path_characters path_escape"
        yield bad(f"windows-{path}", create(path), "windows_name", path, also=also)
    yield bad("windows-rename", rename("a.txt", "src/nul.py"), "windows_name", "src/nul.py")
    hidden = edit("b.txt", "two", "2").replace(b"a/b.txt", b'"a/\\142.txt"')
    hidden = hidden.replace(b"b/b.txt", b'"b/\\142.txt"')
    yield bad("characters-octal", hidden, "out_of_scope", "b.txt", scope=("src/**",))


NUL = create("nul-here.txt").replace(b"b/nul-here.txt", b'"b/nul\\000here.txt"')
