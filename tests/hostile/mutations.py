"""Small damage to a patch, as a hostile or a confused writer does it; random, but by a seed."""

from collections.abc import Callable, Sequence
from random import Random

Mutation = Callable[[Random, bytes, Sequence[bytes]], bytes]

PATHS = (
    *(b".git/config", b".GIT/hooks/x", b"git~1", b"../x", b"/etc/passwd", b"src/../../x", b"-x"),
    *(b"src/.g\xe2\x80\x8cit/x", b"C:/x", b"con.txt", b"src/a\\..\\b", b"a\x1bb", b"caf\xe9", b"."),
    *(b"SRC/stockroom/cli.py", b"pyproject.toml", b"src", b"", b"a b c", b'"q\\056git"', b"tests"),
    *(b"/dev/null", b"src/x", b"outside.txt", b"src/stockroom/cli.py"),
)
MODES = (b"100644", b"100755", b"120000", b"160000", b"040000", b"104755", b"100664", b"0", b"")
NUMBERS = (b"0", b"1", b"-1", b"2", b"3", b"7", b"99999", b"2147483648", b"18446744073709551616")
INSERTS = (
    *(b"\0", b"\r", b"\n", b"\t", b" ", b'"', b"\\", b"\x1b[2J", b"\xff", b"\xe2\x80\xae"),
    *(b"\xe2\x80\x8b", b"\xc3\xa9", b"e\xcc\x81", b"@@ ", b"--- ", b"+++ ", b"diff --git "),
)
HEADERS = (
    *(b"rename from a.txt\n", b"rename to x.txt\n", b"copy from README.md\n", b"copy to .git\n"),
    *(b"new file mode 120000\n", b"deleted file mode 100644\n", b"old mode 100644\n"),
    *(b"new mode 100755\n", b"GIT binary patch\n", b"--- /dev/null\n", b"+++ /dev/null\n"),
    *(
        b"index 0000000..1111111 160000\n",
        b"\\ No newline at end of file\n",
        b"similarity index 1%\n",
    ),
    *(b"@@ -0,0 +1 @@\n", b"+new line\n", b"-old line\n", b" \n", b"-- \n", b"literal 5\n"),
)
MARKS = (
    b"diff ",
    b"--- ",
    b"+++ ",
    b"index ",
    b"rename ",
    b"copy ",
    b"new ",
    b"old ",
    b"@@",
    b"del",
)


def mutated(random: Random, patch: bytes, others: Sequence[bytes]) -> bytes:
    """The patch with one to four small damages."""
    for _ in range(random.choice((1, 1, 1, 2, 2, 3, 4))):
        patch = random.choice(MUTATIONS)(random, patch, others)
    return patch


def flip_byte(random: Random, patch: bytes, others: Sequence[bytes]) -> bytes:
    if not patch:
        return patch
    place = random.randrange(len(patch))
    return patch[:place] + bytes([patch[place] ^ 1 << random.randrange(8)]) + patch[place + 1 :]


def insert_bytes(random: Random, patch: bytes, others: Sequence[bytes]) -> bytes:
    place = random.randrange(len(patch) + 1)
    return patch[:place] + random.choice(INSERTS) + patch[place:]


def cut_off(random: Random, patch: bytes, others: Sequence[bytes]) -> bytes:
    return patch[: random.randrange(len(patch) + 1)]


def append_other(random: Random, patch: bytes, others: Sequence[bytes]) -> bytes:
    return (
        patch + random.choice((b"", b"\n", b"-- \n2.39.5\n\n", b"junk\n")) + random.choice(others)
    )


def recombine(random: Random, patch: bytes, others: Sequence[bytes]) -> bytes:
    """Whole files' parts of two patches in any order, perhaps one of them twice."""
    parts = [
        b"diff --git " + part
        for text in (patch, random.choice(others))
        for part in text.split(b"diff --git ")[1:]
    ]
    return b"".join(random.choices(parts, k=random.randint(1, 3))) if parts else patch


def swap_lines(random: Random, patch: bytes, others: Sequence[bytes]) -> bytes:
    lines = patch.splitlines(keepends=True) or [b""]
    one, two = random.randrange(len(lines)), random.randrange(len(lines))
    lines[one], lines[two] = lines[two], lines[one]
    return b"".join(lines)


def drop_line(random: Random, patch: bytes, others: Sequence[bytes]) -> bytes:
    return _on_line(random, patch, lambda line: b"")


def double_line(random: Random, patch: bytes, others: Sequence[bytes]) -> bytes:
    return _on_line(random, patch, lambda line: line + line)


def add_header(random: Random, patch: bytes, others: Sequence[bytes]) -> bytes:
    return _on_line(random, patch, lambda line: line + random.choice(HEADERS), headers=True)


def splice_header(random: Random, patch: bytes, others: Sequence[bytes]) -> bytes:
    found = [line for line in random.choice(others).splitlines(True) if line.startswith(MARKS)]
    return _on_line(random, patch, lambda line: random.choice(found or [b""]), headers=True)


def edit_number(random: Random, patch: bytes, others: Sequence[bytes]) -> bytes:
    def edited(line: bytes) -> bytes:
        places = [at for at, byte in enumerate(line) if 48 <= byte <= 57]
        if not places:
            return line
        start = end = random.choice(places)
        while end < len(line) and 48 <= line[end] <= 57:
            end += 1
        return line[:start] + random.choice(NUMBERS) + line[end:]

    return _on_line(random, patch, edited, headers=True)


def other_path(random: Random, patch: bytes, others: Sequence[bytes]) -> bytes:
    """One name in one header, or the same name wherever it stands."""
    path = random.choice(PATHS)
    names = [
        line[6:].strip()
        for line in patch.splitlines()
        if line.startswith((b"--- a/", b"+++ b/")) and len(line) > 6
    ]
    if names and random.random() < 0.6:
        return patch.replace(random.choice(names), path)

    def renamed(line: bytes) -> bytes:
        head, slash, _ = line.rpartition(b"/")
        return head + slash + path + b"\n" if slash else line

    return _on_line(random, patch, renamed, headers=True)


def other_mode(random: Random, patch: bytes, others: Sequence[bytes]) -> bytes:
    return patch.replace(random.choice((b"100644", b"100755")), random.choice(MODES), 1)


def return_at_end(random: Random, patch: bytes, others: Sequence[bytes]) -> bytes:
    if random.random() < 0.2:
        return patch.replace(b"\n", b"\r\n")
    return _on_line(random, patch, lambda line: line.rstrip(b"\n") + b"\r\n")


def change_content(random: Random, patch: bytes, others: Sequence[bytes]) -> bytes:
    """Another added line: the patch stays one that applies."""
    lines = patch.splitlines(keepends=True)
    places = [at for at, line in enumerate(lines) if line[:1] == b"+" and line[:4] != b"+++ "]
    if places:
        words = random.choice(INSERTS).replace(b"\n", b"")
        lines[random.choice(places)] = b"+" + words + b" changed\n"
    return b"".join(lines)


def _on_line(
    random: Random, patch: bytes, edit: Callable[[bytes], bytes], headers: bool = False
) -> bytes:
    lines = patch.splitlines(keepends=True)
    places = [at for at, line in enumerate(lines) if not headers or line.startswith(MARKS)]
    if places:
        place = random.choice(places)
        lines[place] = edit(lines[place])
    return b"".join(lines)


MUTATIONS: tuple[Mutation, ...] = (
    *(flip_byte, insert_bytes, cut_off, append_other, swap_lines, drop_line, double_line),
    *(add_header, splice_header, edit_number, other_path, other_path, other_mode),
    *(return_at_end, recombine, recombine, change_content, change_content),
)
