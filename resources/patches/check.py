"""`check_patch`: what a patch file would do to a base, and whether that is allowed.

The one way in for patches that come as text: `patchline patch check`, tools of kind `patch`, and
your own code:

    repository = Repository.open(Path("project"), home=Path("/tmp/scratch"))
    base = repository.resolve("main")
    checked = check_patch(repository, base, Path("fix.patch"), Scope(("src/**",)), PolicySpec())
    if not checked.accepted:
        for reason in checked.reasons:
            print(reason.code, reason.path, reason.message)

Nothing is written in the repository: the patch is applied to a private index, its objects go to a
folder of their own, and what it does is read from the two trees. Caps are held before anything is
parsed, and git works within bounds of time and memory. Source: design section 6, "Patch limits".
"""

import os
import re
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resources.effects import Change, Effect, examine
from resources.git.command import GitOverrunError
from resources.git.repository import Repository
from resources.patch_policy import Reason, Scope, judge
from resources.patch_policy.reasons import overrun
from resources.patches.apply import apply_text
from resources.patches.declared import differences
from resources.patches.text import GIT_HEADER, PatchText, read_patch_text
from resources.specs import PolicySpec
from state.errors import PatchlineError

ACCEPT, REJECT = "accept", "reject"
_ELSEWHERE = ("/tmp", "/var/tmp", "/dev/shm")
_FILE_HEADS = re.compile(rb"^" + GIT_HEADER, re.MULTILINE)
_HUNK_HEADS = re.compile(rb"^@@ -", re.MULTILINE)


class PatchSourceError(PatchlineError):
    """A patch file cannot be read: it is not there, no file, or forbidden.

    Attributes:
        path: the file.
        hint: what to do about it.
    """

    code = "patch_source"

    def __init__(self, path: Path, problem: str, hint: str) -> None:
        self.path, self.message, self.hint = path, f"{path}: {problem}", hint
        super().__init__(self.message)


@dataclass(frozen=True)
class Checked:
    """The answer.

    Attributes:
        reasons: every reason to reject; none when it is accepted.
        data: the patch's text; None when it is too large to be read.
        tree: the result's tree; None when it could not be applied. Its objects are there only if
            the caller named a folder for them.
        change: everything that it does; None when it could not be applied.
    """

    reasons: tuple[Reason, ...]
    data: bytes | None = None
    tree: str | None = None
    change: Change | None = None

    @property
    def accepted(self) -> bool:
        """Whether the patch may land."""
        return not self.reasons

    @property
    def verdict(self) -> str:
        """`accept` or `reject`."""
        return ACCEPT if self.accepted else REJECT

    @property
    def effects(self) -> tuple[Effect, ...]:
        """What the patch does; empty when it could not be applied."""
        return self.change.effects if self.change else ()

    def to_json(self) -> dict[str, Any]:
        """The pinned spelling: verdict, reasons, effects."""
        return {
            "verdict": self.verdict,
            "reasons": [reason.to_json() for reason in self.reasons],
            "effects": [effect.to_json() for effect in self.effects],
        }


def check_patch(
    repository: Repository,
    base: str,
    source: Path | bytes,
    scope: Scope,
    policy: PolicySpec,
    objects: Path | None = None,
) -> Checked:
    """Say what a patch would do to `base`, and judge it.

    Args:
        repository: the repository; nothing in it changes.
        base: the id of the commit or tree that the patch is for.
        source: the patch file, or its bytes. Of a file no more is read than is allowed.
        scope: where it may work.
        policy: the limits.
        objects: a folder that keeps the new objects (made if need be); None throws them away.

    Returns:
        The verdict. A patch that is empty, malformed, too large or does not apply is rejected.

    Raises:
        PatchSourceError: there is no such file, or it is none to read.
        GitError: git or the machine failed.
    """
    data = source if isinstance(source, bytes) else read_capped(source, policy.max_bytes)
    if isinstance(data, Reason):
        return Checked((data,))
    if reason := _too_large(data, policy):
        return Checked((reason,))
    text = read_patch_text(data)
    if isinstance(text, Reason):
        return Checked((text,), data)
    if reason := _too_many(len(text.files), text.hunks, policy):
        return Checked((reason,), data)
    with throw_away_folder(repository.root, repository.git_dir, repository.control) as folder:
        new_objects = objects or folder / "objects"
        new_objects.mkdir(parents=True, exist_ok=True)
        private = repository.with_new_objects(new_objects)
        index = folder / "index"
        private.on_objects("read-tree", base, index=index)
        tree = apply_text(private, base, data, text, index, keep=objects is not None)
        if not isinstance(tree, str):
            return Checked(tree, data)
        try:
            change = examine(private, base, tree)
        except GitOverrunError as error:
            return Checked((overrun(error),), data)
        return Checked(_reasons(text, change, scope, policy), data, tree, change)


def _reasons(
    text: PatchText, change: Change, scope: Scope, policy: PolicySpec
) -> tuple[Reason, ...]:
    judged = judge(change, scope, policy)
    return (*judged, *differences(text, change.effects)) if change.effects else judged


# -- caps --------------------------------------------------------------------------------------


def read_capped(path: Path, limit: int) -> bytes | Reason:
    """The bytes of a patch file; the reason `oversize` when it has more than `limit`.

    Only a regular file is read, and never more than one byte beyond the limit, also when it grows.

    Raises:
        PatchSourceError: there is no such file, or it is none to read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                hint = "name a file, or hand the patch over on standard input: -"
                raise PatchSourceError(path, "not a regular file", hint)
            if found.st_size > limit:
                return _oversize(str(found.st_size), limit)
            data = read_up_to(descriptor, limit + 1)
        finally:
            os.close(descriptor)
    except FileNotFoundError as error:
        hint = "check the path; it is taken from the current folder"
        raise PatchSourceError(path, "no such file", hint) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        problem = (getattr(error, "strerror", None) or str(error)).lower()
        hint = "make it a file that you can read"
        raise PatchSourceError(path, f"cannot be read: {problem}", hint) from error
    return _oversize(f"more than {limit}", limit) if len(data) > limit else data


def read_up_to(descriptor: int, count: int) -> bytes:
    """Everything from an open file or pipe, or its first `count` bytes."""
    parts: list[bytes] = []
    while count and (part := os.read(descriptor, min(count, 1 << 20))):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _too_large(data: bytes, policy: PolicySpec) -> Reason | None:
    """What can be counted before anything is parsed."""
    if len(data) > policy.max_bytes:
        return _oversize(str(len(data)), policy.max_bytes)
    heads, hunks = (len(p.findall(data)) for p in (_FILE_HEADS, _HUNK_HEADS))
    return _too_many(heads, hunks, policy)


def _too_many(files: int, hunks: int, policy: PolicySpec) -> Reason | None:
    if files > policy.max_files:
        text = f"{files} files are changed, policy.max_files is {policy.max_files}"
        return Reason("oversize", text)
    if hunks > policy.max_hunks:
        return Reason("oversize", f"{hunks} hunks, policy.max_hunks is {policy.max_hunks}")
    return None


def _oversize(size: str, limit: int) -> Reason:
    return Reason("oversize", f"the patch has {size} bytes, policy.max_bytes is {limit}")


# -- elsewhere ---------------------------------------------------------------------------------


@contextmanager
def throw_away_folder(*avoided: Path) -> Iterator[Path]:
    """A folder that is gone afterwards, outside of `avoided`, HOME and the current folder."""
    here = [*avoided, Path.cwd(), Path(os.path.expanduser("~"))]
    with tempfile.TemporaryDirectory(prefix="patchline-", dir=_outside(here)) as folder:
        yield Path(folder).resolve()


def _outside(avoided: Sequence[Path]) -> str:
    """Where folders may be made: none of `avoided`, nor below one, if there is such a place."""
    usual = tempfile.gettempdir()
    real = [path.resolve() for path in avoided]
    for place in (usual, *_ELSEWHERE):
        path = Path(place).resolve()
        free = not any(path.is_relative_to(one) for one in real)
        if free and os.access(path, os.W_OK | os.X_OK):
            return place
    return usual
