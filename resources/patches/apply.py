"""Apply a patch text to a base in a private index, and say in our words why git would not.

Git does it strictly: all context must match, nothing is half done, and no file is touched. The
names that git refuses come back with the reason that the policy has for them.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from resources.effects import MAX_INFLATED_BYTES, printable
from resources.git.command import UNTRUSTED, GitError, GitOverrunError
from resources.git.repository import Repository
from resources.patch_policy import Reason
from resources.patch_policy.disguises import stands_for
from resources.patch_policy.names import name_problems
from resources.patch_policy.reasons import about, overrun
from resources.patches.confined import confined
from resources.patches.text import PatchText

_APPLY = ("apply", "--cached", "--whitespace=nowarn", "-p1", "-")
_DURABLE = ("-c", "core.fsync=loose-object", "-c", "core.fsyncMethod=batch")

_UNFIT = re.compile(
    r"No space left|Disk quota|Permission denied|Read-only file|Input/output error|"
    r"unable to (?:create|write|open) |insufficient permission|object file .* is empty|"
    r"corrupt (?:loose )?object|Too many open files|cannot read the current contents"
)
"""The machine failed, not the patch."""
_REFUSALS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (code, re.compile(pattern, re.DOTALL))
    for code, pattern in (
        ("path", r"error: invalid path '(.*?)'(?:\n|$)"),
        ("path_escape", r"error: affected file '(.*?)' is beyond a symbolic link"),
        ("conflict", r"error: ([^\n]*?): does not (?:exist in|match) index"),
        ("conflict", r"error: ([^\n]*?): already exists in index"),
        ("conflict", r"error: ([^\n]*?): patch does not apply"),
        ("conflict", r"error: ([^\n]*?): wrong type"),
        ("conflict", r"error: the patch applies to '(.*?)' \([0-9a-f]+\), which does not match"),
        ("conflict", r"error: the patch applies to an empty '(.*?)' but it is not empty"),
        ("conflict", r"error: unable to add cache entry for ([^\n]*)"),
        ("declared_mismatch", r"error: (?:new )?mode \([0-7]+\) of ([^\n]*?) does not match"),
        ("malformed", r"error: binary patch (?:does not apply )?to '(.*?)'"),
    )
)
"""What git says, and which reason that is. All else that it says of a patch is `malformed`.

Names stand there as they are; one that looks like another message makes us refuse for more reasons.
"""


def apply_text(
    repository: Repository, base: str, data: bytes, text: PatchText, index: Path, keep: bool
) -> str | tuple[Reason, ...]:
    """The tree that the patch `data` makes of `base`, or every reason why it makes none.

    Args:
        repository: where objects are read, and new ones written.
        base: a commit or tree id.
        data: the patch.
        text: what it says, from `read_patch_text`.
        index: a private index of the base; it becomes that of the result.
        keep: whether the new objects must outlive a power cut. Otherwise nothing of the
            repository is touched, not even the date of an object that the patch makes again.

    Raises:
        GitError: git or the machine failed, for another cause than the patch.
    """
    if (inflated := _inflated(repository, base, text)) > MAX_INFLATED_BYTES:
        sentence = f"{inflated} bytes of files would be written, allowed are {MAX_INFLATED_BYTES}"
        return (Reason("oversize", sentence),)
    durable = _DURABLE if keep else ("-c", "core.fsync=none")
    if not keep:
        try:
            repository = confined(repository, base, text, index.with_name("copies"))
        except GitOverrunError as error:
            return (overrun(error),)
    try:
        repository.on_objects(*durable, *_APPLY, index=index, stdin=data, bounds=UNTRUSTED)
    except GitOverrunError as error:
        return (overrun(error),)
    except GitError as error:
        if reasons := tuple(dict.fromkeys(_refusals(error))):
            return reasons
        if _UNFIT.search(error.stderr) or error.exit_code not in (1, 128):
            raise
        return (Reason("malformed", f"git cannot read the patch: {_words(error)}"),)
    write = ("write-tree",) if keep else ("write-tree", "--missing-ok")  # what is out of reach
    written = repository.on_objects(*durable, *write, index=index).stdout
    return written.decode().strip()


def _inflated(repository: Repository, base: str, text: PatchText) -> int:
    """The most bytes that the files which git has to write can have.

    Git rewrites a file whole: a hundred copies of a large file, each with one line changed, are a
    small patch.
    """
    sources = [file.old_path for file in text.files if file.body.hunks and not file.body.binary]
    asked = [path for path in sources if path and not any(_not_plain(path))]
    listed = b"".join(f"{base}:{path}\0".encode("utf-8", "surrogateescape") for path in asked)
    command = ("cat-file", "-z", "--batch-check=%(objectsize)")
    said = repository.on_objects(*command, stdin=listed).stdout if asked else b""
    sizes = (int(line) for line in said.split(b"\n") if line.isdigit())
    return sum(sizes) + sum(file.body.grows for file in text.files)


def _not_plain(path: str) -> Iterator[Reason]:
    """Problems with a path that git would take for a way through folders."""
    return (one for one in name_problems(path, False) if one.code in ("path_escape", "git_dir"))


def _refusals(error: GitError) -> Iterator[Reason]:
    """What git says of single paths, in our words."""
    for code, pattern in _REFUSALS:
        for path in pattern.findall(error.stderr):
            if code == "path":
                yield _refused_name(path)
            elif code == "path_escape":
                yield about(path, code, f"{printable(path)} lies behind a symbolic link")
            elif code == "conflict":
                text = f"{printable(path)} is not what the patch was made for"
                yield next(_not_plain(path), None) or about(path, code, text)
            else:
                yield about(path, code, f"{printable(path)}: git says: {_words(error)}")


def _refused_name(path: str) -> Reason:
    """The policy's reason for a name that git does not take."""
    reasons = tuple(name_problems(path))
    first = next((one for one in reasons if one.code in ("git_dir", "path_escape")), None)
    if first is None and stands_for(path.rpartition("/")[2]) == ".gitmodules":
        return about(path, "symlink", f"{printable(path)} may not be a symbolic link")
    return first or about(path, "path_escape", f"git does not take the name {printable(path)}")


def _words(error: GitError) -> str:
    """What git said first, on one line."""
    line = next((line for line in error.stderr.splitlines() if line.startswith("error: ")), "")
    return printable(line.removeprefix("error: ") or error.stderr)[:300]
