"""Fences: what holds a lander back that has lost its lease without knowing (ADR 12).

Whoever takes the lease of a branch points a ref of ours at a small blob that names branch and
token. Every move of the branch is one ref transaction with it (`resources.git.ref_moves`), so git
itself refuses whoever was taken over.
"""

import hashlib
import re
from dataclasses import dataclass

from resources.git.ref_moves import Fence
from resources.git.repository import Repository
from state.crash_points import crash_point
from state.leases import Lease

FOLDER = "refs/patchline/landing/"
_WORDS = re.compile(r"patchline landing lease\nbranch (.*)\ntoken (\d+)\nholder (.*)\n", re.DOTALL)


@dataclass(frozen=True)
class Found:
    """A fence as it stands in git; the token is None for a blob that is none of ours."""

    reference: str
    oid: str
    branch: str
    token: int | None


def reference_of(database: str, lease_id: str) -> str:
    """The ref that is the fence of a branch; two databases on one repository have their own."""
    return FOLDER + hashlib.sha256(f"{database}\0{lease_id}".encode()).hexdigest()[:40]


def find(repository: Repository, pattern: str) -> list[Found]:
    """The fences at a ref, or below a folder of refs."""
    told = repository.on_refs("for-each-ref", "--format=%(objectname) %(refname)", pattern)
    pairs = [line.split(" ", 1) for line in told.splitlines()]
    return [_read(repository, oid, reference) for oid, reference in pairs]


def _read(repository: Repository, oid: str, reference: str) -> Found:
    done = repository.on_objects("cat-file", "blob", oid, expect=(0, 128))
    words = _WORDS.fullmatch(done.stdout.decode("utf-8", "surrogateescape"))
    branch, token = (words[1], int(words[2])) if words else ("", None)
    return Found(reference, oid, branch, token)


def put_up(
    repository: Repository, lease: Lease, reference: str, found: Found | None
) -> Fence | None:
    """Put the fence of a lease in the place of the one that was found there.

    Returns:
        None when another lander's is there by now.
    """
    words = f"patchline landing lease\nbranch {lease.branch}\ntoken {lease.token}\n"
    words += f"holder {lease.holder}\n"
    oid = repository.write_blob(words.encode("utf-8", "surrogateescape"))
    crash_point("fence-written", "the fence's blob is in the object store; nothing names it")
    old = found.oid if found else None
    if not repository.move_reference(reference, oid, old, why="patchline: fence"):
        return None
    crash_point("fence-up", "the fence is up; its holder has moved nothing")
    return Fence(reference, oid, lease.branch, lease.token)
