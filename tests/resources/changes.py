"""Changes to judge: from plain data, or from real git given the files before and after."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resources.effects import (
    ABSENT,
    EXECUTABLE,
    REGULAR,
    SUBMODULE,
    SYMLINK,
    Change,
    Effect,
    KnownFiles,
    Size,
    TrackedFile,
    examine,
    printable,
)
from resources.git.repository import Repository
from resources.patch_policy import Scope, judge
from resources.specs import PolicySpec
from tests.resources.gitbox import make_repository

BLOBS = {
    REGULAR: "1" * 40,
    EXECUTABLE: "2" * 40,
    SYMLINK: "3" * 40,
    SUBMODULE: "4" * 40,
    ABSENT: "0" * 40,
}
MANY = KnownFiles({f"kept/{n}": TrackedFile(REGULAR, "5" * 40) for n in range(100)})
"""A base in which a deletion is a small share."""

Files = Mapping[str, bytes | str | tuple[str, bytes | str]]
"""Contents by path; with a mode where it is no regular file."""


def effect(path: str, old: str = REGULAR, new: str = REGULAR, was: str | None = None) -> Effect:
    """An effect as git would tell it, with made-up blobs."""
    change = "modified"
    if was:
        change = "renamed"
    elif old == ABSENT:
        change = "added"
    elif new == ABSENT:
        change = "deleted"
    return Effect(path, change, was, old, new, BLOBS.get(old, "6" * 40), BLOBS.get(new, "7" * 40))


def changed(
    *effects: Effect,
    diff: bytes | None = None,
    binaries: tuple[str, ...] = (),
    files: KnownFiles = MANY,
) -> Change:
    """A change from plain data; its text is headers only unless it is given."""
    if diff is None:
        heads = (b"diff --git %r\n" % printable(e.path).encode() for e in effects)
        twice = (2 if e.change == "type_changed" else 1 for e in effects)  # as git writes them
        diff = b"".join(head * times for head, times in zip(heads, twice, strict=True))
    return Change(tuple(effects), Size(1, 1, binaries), diff, files)


def verdict(change: Change, scope: Scope | None = None, **policy: Any) -> list[tuple[str, str]]:
    """Codes and paths of the reasons to refuse a change."""
    reasons = judge(change, scope or Scope(), PolicySpec.model_validate(policy))
    return [(reason.code, reason.path or "") for reason in reasons]


@dataclass
class Bench:
    """A repository in which any two sets of files become a change."""

    path: Path
    repository: Repository
    _made: int = 0

    @classmethod
    def in_folder(cls, folder: Path) -> "Bench":
        path = make_repository(folder / "repo", {"first": "1\n"})
        return cls(path, Repository.open(path, folder / "home"))

    def tree(self, files: Files) -> str:
        """The name of a tree with these files."""
        self._made += 1
        branch = f"refs/heads/case-{self._made}"
        head = f"commit {branch}\ncommitter a <a@localhost> 0 +0000\ndata 0\n"
        stream = head.encode()
        for path, given in files.items():
            mode, content = given if isinstance(given, tuple) else (REGULAR, given)
            data = content.encode() if isinstance(content, str) else content
            name = path.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
            if mode == SUBMODULE:
                stream += f'M {mode} {data.decode()} "{name}"\n'.encode()
                continue
            head = f'M {mode} inline "{name}"\ndata {len(data)}\n'
            stream += head.encode("utf-8", "surrogateescape") + data + b"\n"
        self.repository.on_objects("fast-import", "--quiet", stdin=stream)
        return self.repository.on_objects("rev-parse", f"{branch}^{{tree}}").stdout.decode().strip()

    def change(self, before: Files, after: Files) -> Change:
        """What git says of going from one set of files to the other, with 20 more beside them."""
        beside = {f"kept/{n}": f"{n}\n" for n in range(20)}
        old, new = self.tree({**beside, **before}), self.tree({**beside, **after})
        return examine(self.repository, old, new)


def tracked(*paths: str, **links: str) -> KnownFiles:
    """A base with files, and links given by name and target."""
    files = {path: TrackedFile(REGULAR, "5" * 40) for path in paths}
    files |= {name: TrackedFile(SYMLINK, f"link-{name}") for name in links}
    return KnownFiles(files, {f"link-{name}": target.encode() for name, target in links.items()})
