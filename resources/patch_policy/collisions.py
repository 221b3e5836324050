"""Two paths of the result that some file systems take for one: case, accents, file and folder."""

from collections import defaultdict
from collections.abc import Iterator

from resources.effects import ABSENT, Change, printable
from resources.patch_policy.disguises import folded, folded_all
from resources.patch_policy.reasons import Reason, about


def colliding(change: Change) -> Iterator[Reason]:
    """New names (files or their folders) that differ from others only by case or normalisation.

    Only a patch that makes new names looks at the base: two old names that collide are not its
    doing.
    """
    made = [path for effect in change.effects for path, created in effect.touched if created]
    if not made:
        return
    new: dict[str, str] = {}  # each new name, and the first path that brings it
    for path in made:
        for name in _names(path):
            new.setdefault(name, path)
    spellings: dict[str, set[str]] = defaultdict(set)
    for name in new:
        spellings[folded(name)].add(name)
    there = _kept(change)
    for name, fold in zip(there, folded_all(there), strict=True):
        if fold in spellings:
            spellings[fold].add(name)
    for name, path in new.items():
        others = spellings[folded(name)] - {name}
        if name not in there and others:
            text = f"{printable(name)} and {printable(min(others))} are one on some file systems"
            yield about(path, "path_collision", text)


def _kept(change: Change) -> set[str]:
    """Names of files and folders of the base that the patch leaves there."""
    gone = {effect.path for effect in change.effects if effect.new_mode == ABSENT}
    gone |= {effect.old_path for effect in change.effects if effect.change == "renamed"}
    files = change.tracked.keys() - gone
    folders = {file.rpartition("/")[0] for file in files}
    return files.union(*(_names(folder) for folder in folders if folder))


def _names(path: str) -> list[str]:
    """A path and the folders that it lies in."""
    parts = path.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]
