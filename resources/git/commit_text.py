"""A commit as it is written: its tree, its parents, and what its trailers say."""

from collections.abc import Mapping
from dataclasses import dataclass

from resources.git.repository import Repository

PREFIX = "Patchline-"
RUN, TASK, LEDGER = "Patchline-Run", "Patchline-Task", "Patchline-Ledger"
SHA256, GATES, AUDIT = "Patchline-Patch-SHA256", "Patchline-Gates", "Patchline-Audit"
REVERTS, REPLACES = "Patchline-Reverts", "Patchline-Replaces"
"""What a rollback took back, and in whose place a replacement landed."""
WORKSTREAM = "Patchline-Workstream"
"""Whose merge it is."""
PINNED = (RUN, TASK, LEDGER, SHA256, GATES, AUDIT)
"""The trailers of every commit that carries a patch (design section 6)."""


@dataclass(frozen=True)
class CommitText:
    """A commit's content.

    Attributes:
        name: its object name.
        tree: its tree.
        parents: its parents, in order.
        subject: the first line of its message.
        trailers: those of ours, in order.
        repeated: trailers of ours that stand there more than once.
    """

    name: str
    tree: str
    parents: tuple[str, ...]
    subject: str
    trailers: Mapping[str, str]
    repeated: tuple[str, ...] = ()

    def names(self, trailer: str) -> tuple[str, ...]:
        """The names that a trailer lists."""
        listed = self.trailers.get(trailer, "")
        return tuple(one.strip() for one in listed.split(",") if one.strip())


def read_commit(repository: Repository, name: str) -> CommitText:
    """Read a commit.

    Raises:
        GitError: there is none of that name.
    """
    raw = repository.on_objects("cat-file", "commit", name).stdout
    head, _, body = raw.decode("utf-8", "surrogateescape").partition("\n\n")
    fields = [line.split(" ", 1) for line in head.split("\n") if not line.startswith(" ")]
    subject, _, rest = body.partition("\n")
    trailers, repeated = _trailers(rest)
    return CommitText(
        name=name,
        tree=next(value for key, value in fields if key == "tree"),
        parents=tuple(value for key, value in fields if key == "parent"),
        subject=subject,
        trailers=trailers,
        repeated=repeated,
    )


def message_with_trailers(title: str, trailers: Mapping[str, str]) -> str:
    """A commit message; the title becomes one line, so that no plan text can pose as a trailer."""
    subject = " ".join(title.split()) or "patchline"
    lines = "\n".join(f"{key}: {' '.join(value.split())}" for key, value in trailers.items())
    return f"{subject}\n\n{lines}\n"


def _trailers(text: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """Ours among the trailers: those in the last paragraph, as git takes them."""
    last = text.strip("\n").rpartition("\n\n")[2]
    found: dict[str, str] = {}
    repeated: list[str] = []
    for line in last.split("\n"):
        key, colon, value = line.partition(": ")
        if colon and key.startswith(PREFIX):
            if key in found:
                repeated.append(key)
            found.setdefault(key, value)
    return found, tuple(repeated)
