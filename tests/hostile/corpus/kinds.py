"""Kinds that a patch may not make: links, submodules, modes, attributes, binaries."""

from collections.abc import Iterator

from tests.hostile.base import BASE, FILE, LINK, PROGRAM, SUBMODULE, SUBPROJECT, File, pseudo_random
from tests.hostile.cases import EVERYTHING, Case, bad
from tests.hostile.corpus.contents import token
from tests.hostile.writing import (
    binary,
    binary_delta,
    change,
    chmod,
    chunk,
    copy,
    copy_command,
    create,
    delete,
    edit,
    header,
    rename,
    rewrite,
)

MEBIBYTE = 1 << 20


def cases() -> Iterator[Case]:
    yield from links()
    yield from submodules()
    yield from modes()
    yield from attributes()
    yield from binaries()
    yield from bombs()


def link(path: str, target: str) -> bytes:
    """A patch that makes a symbolic link."""
    return create(path, target, LINK)


def links() -> Iterator[Case]:
    yield bad("link-new", link("l", "a.txt"), "symlink", "l")
    yield bad("link-new-outside", link("l", "/etc/passwd"), "symlink", "l")
    yield bad("link-retarget", rewrite("link", b"b.txt"), "symlink", "link")
    yield bad("link-delete", delete("link"), "symlink", "link")
    yield bad("link-rename", rename("link", "other"), "symlink")
    yield bad("link-copy", copy("link", "other"), "symlink", "other")
    changed = change("a.txt", BASE["a.txt"], "a.txt", File(LINK, b"b.txt"))
    code = "symlink|malformed|declared_mismatch"
    yield bad("link-for-file", changed, code, also="mode declared_mismatch")
    two_parts = delete("a.txt") + link("a.txt", "b.txt")
    yield bad("link-replaces-file", two_parts, "symlink", "a.txt")
    yield bad("link-replaces-test", delete("tests/test_app.py") + link("tests/test_app.py", "x"),
              "symlink", "tests/test_app.py", also="deletion")  # fmt: skip
    yield bad("link-becomes-file", delete("link") + create("link"), "symlink", "link")
    outside = {
        "absolute": ("l", "/etc/passwd"),
        "up": ("l", "../outside"),
        "up-from-folder": ("src/l", "../../outside"),
        "winding": ("src/l", "deep/../../../outside"),
        "only-up": ("l", ".."),
        "git": ("l", ".git/config"),
        "git-from-folder": ("src/l", "../.git/hooks"),
        "git-case": ("l", ".GIT/config"),
        "git-short": ("l", "git~1/config"),
        "git-ignorable": ("l", ".g\u200cit/config"),
        "git-dot": ("l", "./.git"),
        "drive": ("l", "C:/Windows"),
        "backslash": ("src/l", "..\\..\\outside"),
        "through-a-link": ("docs/l", "up/../outside"),  # docs/up is the top folder
        "home": ("l", "/proc/self/root"),
    }
    for name, (path, target) in outside.items():
        yield bad(f"link-out-{name}", link(path, target), "symlink", path, policy=EVERYTHING)
    retarget = rewrite("link", b"../outside")
    yield bad("link-out-retarget", retarget, "symlink", "link", policy=EVERYTHING)
    moved = rename("docs/to-a", "to-a")
    yield bad("link-out-moved", moved, "symlink", "to-a", policy=EVERYTHING)
    chain = link("x1", "docs/up") + link("x2", "x1/..")
    yield bad("link-out-chain", chain, "symlink", "x2", policy=EVERYTHING)
    hops = [link(f"hop{n}", f"hop{n + 1}") for n in range(45)]
    far = b"".join([*hops, link("hop45", "a.txt")])
    yield bad("link-out-too-far", far, "symlink", "hop0", policy=EVERYTHING)
    twice = b"".join(link(f"hop{n}", f"hop{n + 1}/../hop{n + 1}") for n in range(60))
    yield bad("link-out-doubling", twice, "symlink", "hop0", policy=EVERYTHING)
    # `via` leads through `folder`, and out of the repository once that is the top.
    under = rewrite("folder", b".")
    yield bad("link-out-under-another", under, "symlink", policy=EVERYTHING)
    beyond = link("evil", "src") + create("evil/new.py")
    code = "symlink|path_escape|conflict"
    yield bad("link-new-then-through", beyond, code, policy=EVERYTHING)
    yield bad("link-tmp-then-through", link("evil", "/tmp") + create("evil/x"), code)
    yield bad("link-through-tracked", create("folder/new.py"), code, also="out_of_scope")
    through = edit("src/app.py", "2 * x", "x").replace(b"src/app.py", b"folder/app.py")
    yield bad("link-edit-through-tracked", through, code)
    attributes = link(".gitattributes", "a.txt")
    both = delete(".gitattributes") + attributes
    yield bad("link-attributes", both, "attributes|symlink", ".gitattributes", policy=EVERYTHING)
    modules = delete(".gitmodules") + link(".gitmodules", "a.txt")
    yield bad("link-modules", modules, "submodule|symlink|git_dir", policy=EVERYTHING)
    with_nul = create("l", b"a.txt\0/etc/passwd", LINK)
    yield bad("link-nul", with_nul, "symlink|binary|malformed", policy=EVERYTHING)


def submodules() -> Iterator[Case]:
    always = {"policy": EVERYTHING}
    here = f"Subproject commit {SUBPROJECT}\n"
    there = f"Subproject commit {'6' * 40}\n"
    text = create("sub", here, SUBMODULE).replace(b"index " + b"0" * 40, b"index 0000000")
    yield bad("submodule-new", text, "submodule", "sub", **always)
    old, new = File(SUBMODULE, here.encode()), File(SUBMODULE, there.encode())
    lib = "vendor/lib"
    moved = change(lib, old, lib, new)
    ids = moved.replace(blob_line(moved), f"index {'5' * 40}..{'6' * 40} 160000".encode())
    yield bad("submodule-update", ids, "submodule", lib, **always)
    gone = change(lib, old, lib, None)
    ids = gone.replace(blob_line(gone), f"index {'5' * 40}..{'0' * 40}".encode())
    yield bad("submodule-delete", ids, "submodule", lib, **always)
    replaced = delete("a.txt") + create("a.txt", here, SUBMODULE)
    yield bad("submodule-for-file", replaced, "submodule", "a.txt", **always)
    inside = create("vendor/lib/x.py")
    yield bad("submodule-inside", inside, "submodule|path_collision|conflict", **always)
    yield bad("submodule-modules", edit(".gitmodules", "lib", "evil"),
              "protected|submodule", ".gitmodules", also="protected submodule")  # fmt: skip
    yield bad("submodule-modules-upper", create("src/.GITMODULES"),
              "protected|submodule|git_dir", "src/.GITMODULES", also="protected")  # fmt: skip


def blob_line(patch: bytes) -> bytes:
    """The `index` line of a patch."""
    return next(line for line in patch.splitlines() if line.startswith(b"index "))


def modes() -> Iterator[Case]:
    yield bad("mode-exec-on", chmod("a.txt", PROGRAM), "mode", "a.txt")
    yield bad("mode-exec-off", chmod("bin/run.sh", FILE), "mode", "bin/run.sh")
    yield bad("mode-exec-new", create("run.sh", "#!/bin/sh\n", PROGRAM), "mode", "run.sh")
    both = change("a.txt", BASE["a.txt"], "a.txt", File(PROGRAM, b"alpha\n"))
    yield bad("mode-exec-copied", copy("bin/run.sh", "run.sh"), "mode", "run.sh")
    yield bad("mode-exec-and-text", both, "mode", "a.txt")
    odd = (
        *("100664", "100600", "100666", "100777", "104755", "102755", "101644", "107777"),
        *("040000", "000000", "100000", "020644", "060644", "010644", "140755", "777777"),
        *("10064x", "rwxr-xr-x", "-100644", "0x81a4", "99999999999999999999", ""),
    )
    code = "mode|declared_mismatch|malformed"
    for mode in odd:
        patch = create("new.txt", "new\n", mode)
        yield bad(f"mode-new-{mode}", patch, code, policy=EVERYTHING, also="submodule symlink")
    for mode in ("104644", "100664", "100666", "040000"):
        patch = chmod("a.txt", mode)
        yield bad(f"mode-change-{mode}", patch, code, policy=EVERYTHING, also="submodule empty")
    lie = chmod("a.txt", PROGRAM).replace(b"old mode 100644", b"old mode 100755")
    lie = lie.replace(b"new mode 100755", b"new mode 100644")
    yield bad("mode-lie-reversed", lie, "declared_mismatch|mode|conflict|empty")
    lie = edit("a.txt", "beta", "BETA").replace(b" 100644\n", b" 100755\n")
    yield bad("mode-lie-in-index-line", lie, "declared_mismatch|mode|conflict|malformed")
    lie = create("new.txt").replace(
        b"new file mode 100644", b"new file mode 100644\nnew mode 100755"
    )
    yield bad("mode-lie-twice", lie, "declared_mismatch|mode|malformed", also="mode")
    no_old = chmod("a.txt", PROGRAM).replace(b"old mode 100644\n", b"")
    yield bad("mode-new-without-old", no_old, "mode|declared_mismatch|malformed", also="mode")
    lie = delete("b.txt").replace(b"mode 100644", b"mode 100755")
    yield bad("mode-lie-deleted", lie, "declared_mismatch|mode|conflict|malformed")


def attributes() -> Iterator[Case]:
    allowed = {"policy": EVERYTHING, "also": "protected"}
    drivers = {
        "filter": "*.py filter=evil\n",
        "diff": "*.py diff=evil\n",
        "merge": "*.py text merge=evil\n",
        "encoding": "*.txt working-tree-encoding=UTF-16\n",
        "ident": "*.py ident\n",
        "macro": "[attr]evil filter=x\n* evil\n",
        "quoted": '"a b.py" filter=evil\n',
        "tabs": "*.py\ttext\tfilter=evil",
        "late": "# nothing\n\n*.md text\n  *.py -text filter=evil\n",
        "carriage": "*.py filter=evil\r\n",
    }
    for name, text in drivers.items():
        patch = create("src/.gitattributes", text)
        yield bad(f"attributes-{name}", patch, "attributes", "src/.gitattributes", **allowed)
    added = rewrite(".gitattributes", BASE[".gitattributes"].data + b"* filter=evil\n")
    yield bad("attributes-tracked", added, "attributes", ".gitattributes", **allowed)
    default = bad("attributes-default", added, "protected", ".gitattributes", also="attributes")
    yield default
    code = "attributes|protected"
    for path in (
        ".GITATTRIBUTES",
        "src/.gitattributes ",
        "src/GITATT~1",
        "src/.gitattribu\u200ctes",
    ):
        also = "attributes protected windows_name path_characters path_collision git_dir"
        patch = create(path, drivers["filter"])
        yield bad(f"attributes-disguise-{path!a}", patch, code, path, also=also)
    moved = create("src/x.txt", drivers["filter"]) + b""
    renamed = moved.replace(b"b/src/x.txt", b"b/src/.gitattributes")
    renamed = renamed.replace(b"a/src/x.txt", b"a/src/.gitattributes")
    for verb, moved in (("renamed", rename), ("copied", copy)):
        patch = moved("attributes.txt", "src/.gitattributes")  # no line is added
        yield bad(f"attributes-{verb}", patch, "attributes", "src/.gitattributes", **allowed)
    yield bad("attributes-protected", renamed, "protected", "src/.gitattributes", also="attributes")


def binaries() -> Iterator[Case]:
    noise = pseudo_random(400)
    yield bad("binary-new", binary("new.bin", noise), "binary", "new.bin")
    yield bad("binary-edit", binary("assets/logo.png", noise), "binary", "assets/logo.png")
    yield bad("binary-for-text", binary("a.txt", noise), "binary", "a.txt")
    size = len(BASE["assets/large.bin"].data)
    delta = binary_delta("assets/large.bin", b"\x03abc" + copy_command(0x10000), size + 3,
                         "0" * 40)  # fmt: skip
    yield bad("binary-delta-wrong-result", delta, "malformed|conflict|binary")
    yield bad("binary-nul-in-text", create("n.txt", b"a\0b\n"), "binary", "n.txt")
    late = b"x" * 20 + b"\n"
    yield bad("binary-nul-late", create("n.txt", late * 1000 + b"\0\n"), "binary", "n.txt")
    yield bad("binary-utf16", create("n.txt", "words\n".encode("utf-16")), "binary", "n.txt")
    marked = edit("data.blob", b"text for now", b"now\0binary")
    yield bad("binary-marked-as-text", marked, "binary", "data.blob")
    wide = f"key = {token('github')}\n".encode("utf-16")
    yield bad("binary-secret-in-utf16", binary("n.txt", wide), "secret", "n.txt", policy=EVERYTHING)
    nothing = header("assets/logo.png", "assets/logo.png")
    nothing += b"Binary files a/assets/logo.png and b/assets/logo.png differ\n"
    yield bad("binary-without-data", nothing, "malformed|binary|conflict")
    broken = binary("new.bin", noise).replace(b"literal 400", b"literal 400 ", 1)
    yield bad("binary-odd-size", broken, "malformed|binary")
    yield bad("binary-cut", binary("new.bin", noise)[:300], "malformed")
    text = binary("new.bin", noise)
    middle = text.index(b"literal 400\n") + 30
    damaged = text[:middle] + b"\x7f" + text[middle + 1 :]
    yield bad("binary-damaged", damaged, "malformed")


def bombs() -> Iterator[Case]:
    allowed = {"policy": EVERYTHING}
    zeros = bytes(24 * MEBIBYTE)
    yield bad("bomb-literal", binary("z.bin", zeros), "oversize", **allowed)
    yield bad(
        "bomb-literal-refused-too", binary("z.bin", bytes(9 * MEBIBYTE)), "oversize", also="binary"
    )
    three = b"".join(binary(f"z{n}.bin", bytes(3 * MEBIBYTE)) for n in range(3))
    yield bad("bomb-sum", three, "oversize", **allowed)
    lie = binary("z.bin", zeros, said_size=10)
    yield bad("bomb-lie", lie, "malformed|oversize", **allowed)
    lie = binary("z.bin", b"small", said_size=1 << 40)
    yield bad("bomb-says-more", lie, "oversize|malformed", **allowed)
    lie = binary("z.bin", b"small", said_size=(1 << 64) + 5)
    yield bad("bomb-wraps", lie, "oversize|malformed", **allowed)
    whole = copy_command(0x10000)
    for name, times in (("20-mebibytes", 320), ("4-gibibytes", 65536), ("64-gibibytes", 1 << 20)):
        patch = binary_delta("assets/large.bin", whole * times, 65536 * times)
        yield bad(f"bomb-delta-{name}", patch, "oversize|malformed", **allowed)
    patch = binary_delta("assets/large.bin", whole, 1 << 50)
    yield bad("bomb-delta-says-more", patch, "oversize|malformed", **allowed)
    reverse = binary("small.bin", b"x").removesuffix(chunk("literal", b""))
    reverse += chunk("literal", zeros)
    yield bad("bomb-in-the-reverse", reverse, "oversize|malformed", **allowed)
