"""A repository in which a patch is applied without leaving so much as a date behind.

Git renews the date of an object that it would have written and finds already there, also in a
borrowed store and in packs, and nothing switches that off. So the repository's own store is out of
reach while a patch is applied: what is needed of it lies in a pack of copies.
"""

import re
from dataclasses import replace
from pathlib import Path

from resources.git.command import UNTRUSTED
from resources.git.repository import Repository
from resources.patches.text import PatchText

_ENTRY = re.compile(r"[0-7]{6} (tree|blob) ([0-9a-f]+)\t([^\0]+)\0")
_PACK = ("-c", "core.fsync=none", "pack-objects", "-q", "--window=0")


def confined(repository: Repository, base: str, text: PatchText, folder: Path) -> Repository:
    """The same repository, with only those objects of its own that applying a patch reads.

    Args:
        repository: one that writes its objects elsewhere, and borrows from its own store.
        base: the commit or tree that the patch is for. All its folders are there, by which git
            knows the ones that stay as they are.
        text: the patch, whose files are there.
        folder: where the copies go; not there yet.

    Raises:
        GitOverrunError: the files are larger than `UNTRUSTED` permits.
        GitError: git or the machine failed.
    """
    folder.mkdir()
    paths = {path for file in text.files for path in (file.old_path, file.new_path)}
    done = repository.on_objects("ls-tree", "-r", "-t", "-z", "--full-tree", base)
    entries = _ENTRY.findall(done.stdout.decode("utf-8", "surrogateescape"))
    needed = [name for kind, name, path in entries if kind == "tree" or path in paths]
    if needed:
        listed = "".join(f"{name}\n" for name in needed).encode()
        copies = replace(repository, objects=folder)
        where = str(folder / "pack" / "pack")
        copies.on_objects(*_PACK, where, stdin=listed, bounds=UNTRUSTED)
    return replace(repository, borrowed=folder)
