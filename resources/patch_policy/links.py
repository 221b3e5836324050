"""Where symbolic links lead: never out of the repository, never into `.git`."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from resources.effects import SYMLINK, Change, printable
from resources.patch_policy.disguises import components, stands_for
from resources.patch_policy.reasons import Reason, about

LONGEST_CHAIN = 40
"""Links that Linux follows on the way to one file; other systems go further."""

_ABSOLUTE = re.compile(r"[/\\]|[A-Za-z]:")
_UNSEEN = re.compile(r"[\x00-\x1f\x7f]")


def links_away(change: Change) -> Iterator[Reason]:
    """Links that are new, retargeted or led elsewhere by other links, and leave the repository.

    All links of the base are followed, for a way out may have two halves: a link to `a/../x` is
    harmless until `a` becomes a link itself.
    """
    changed = [e for e in change.effects if SYMLINK in (e.old_mode, e.new_mode)]
    if not changed:
        return
    before = {path: file.blob for path, file in change.tracked.items() if file.mode == SYMLINK}
    gone = {e.old_path for e in changed if e.change == "renamed"}
    gone |= {e.path for e in changed if e.new_mode != SYMLINK}
    after = {path: blob for path, blob in before.items() if path not in gone}
    after |= {e.path: e.new_blob for e in changed if e.new_mode == SYMLINK}
    contents = change.contents({*before.values(), *after.values()})

    def targets(links: Mapping[str, str]) -> dict[str, str | None]:
        read = ((path, contents[blob]) for path, blob in links.items())
        return {p: c if c is None else c.decode("utf-8", "surrogateescape") for p, c in read}

    old, new = targets(before), targets(after)
    for path in new:
        as_before = path in before and before[path] == after[path] and _wrong(path, old)
        if (wrong := _wrong(path, new)) and not as_before:
            yield about(path, "symlink", f"{printable(path)} is a link {wrong}")


def special_links(change: Change) -> Iterator[Reason]:
    """Links under the names by which git reads its own files."""
    for effect in change.effects:
        if effect.new_mode == SYMLINK and (name := stands_for(effect.path.rpartition("/")[2])):
            text = f"{printable(effect.path)} is a link; git reads {name} from files only"
            yield about(effect.path, "symlink", text)


def _wrong(path: str, links: Mapping[str, str | None]) -> str | None:
    """What is wrong with where a link leads; None when it stays inside."""
    here = path.split("/")[:-1]
    todo: list[str | _WayOf] = [path.rpartition("/")[2]]
    within: list[str] = []  # links that lead on: one that is met again while it does is a circle
    followed = 0
    while todo:
        part = todo.pop()
        if isinstance(part, _WayOf):
            within.remove(part.link)
            continue
        if wrong := _step(here, part):
            return wrong
        place = "/".join(here)
        if place not in links:
            continue
        target = links[place]
        if target is None or len(target) > 4095 or _UNSEEN.search(target):
            return "to something that is no path"
        if _ABSOLUTE.match(target):
            return "to an absolute path"
        if place in within:
            return None  # it leads nowhere
        if (followed := followed + 1) > LONGEST_CHAIN:
            return f"through more than {LONGEST_CHAIN} others"
        within.append(place)
        here.pop()
        todo += [_WayOf(place), *reversed(components(target))]
    return None


@dataclass(frozen=True)
class _WayOf:
    """Among the names still to go: behind it a link's own names end."""

    link: str


def _step(here: list[str], part: str) -> str | None:
    """Go one name further; what is wrong with that."""
    if part == "..":
        if not here:
            return "that leaves the repository"
        here.pop()
    elif part not in ("", "."):
        if stands_for(part) == ".git":
            return "into .git"
        here.append(part)
    return None
