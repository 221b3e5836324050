"""Does a patch text say what the patch does?

A text that names other files or modes than its effects was made to be read in one way and applied
in another; it is refused whatever its effects are.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from resources.effects import ABSENT, Effect, printable
from resources.patch_policy import Reason
from resources.patch_policy.reasons import about
from resources.patches.text import Declared, PatchText

_PRESENT = "present"
"""Stands for any mode: the text says that there is a file, and not of which mode."""


@dataclass(frozen=True)
class _Said:
    """What is said of one path; None: nothing.

    Attributes:
        old_mode: its mode before, `ABSENT` when it is created.
        new_mode: its mode after, `ABSENT` when it is deleted.
    """

    old_mode: str | None
    new_mode: str | None


def differences(text: PatchText, effects: tuple[Effect, ...]) -> Iterator[Reason]:
    """Every path of which a text says something else than what happens (`declared_mismatch`)."""
    made: set[str | None] = set()
    for file in text.files:
        if file.change == "added":
            made.add(file.new_path)
        elif file.change == "deleted" and file.old_path in made:
            yield _mismatch(file.path, f"{printable(file.path)} is created and then deleted")
    declared = _declared(text)
    real = {path: said for effect in effects for path, said in _real(effect)}
    for path in sorted(declared.keys() | real.keys()):
        shown = printable(path)
        if path not in real:
            yield _mismatch(path, f"the text names {shown}, where nothing changes")
        elif path not in declared:
            yield _mismatch(path, f"{shown} changes, which the text does not name")
        else:
            said, is_so = declared[path], real[path]
            problems = (
                _problem("before", said.old_mode, is_so.old_mode),
                _problem("after", said.new_mode, is_so.new_mode),
            )
            if told := "; ".join(problem for problem in problems if problem):
                yield _mismatch(path, f"{shown}: {told}")


def _problem(when: str, said: str | None, real: str | None) -> str | None:
    """How a mode that is said differs from the real one."""
    if said is None or said == real or (said == _PRESENT and real != ABSENT):
        return None
    names = {_PRESENT: "a file", ABSENT: "no file"}
    real = real or ABSENT
    return f"{when} it is {names.get(real, real)}, the text says {names.get(said, said)}"


def _declared(text: PatchText) -> dict[str, _Said]:
    """What a text says, by path. Of a path that comes twice its first and last mode count."""
    found: dict[str, _Said] = {}
    for file in text.files:
        for path, said in _of_file(file):
            if path in found:
                before, after = _mode(found[path].old_mode), _mode(said.new_mode)
                said = replace(said, old_mode=before, new_mode=after)
            found[path] = said
    return found


def _mode(mode: str | None) -> str | None:
    """A mode that is really said; parts of one text may create and delete a path in turn."""
    return None if mode in (_PRESENT, ABSENT) else mode


def _of_file(file: Declared) -> Iterator[tuple[str, _Said]]:
    old, new = file.old_mode or _PRESENT, file.new_mode or _PRESENT
    if file.change == "changed":
        yield file.path, _Said(None, None)
    elif file.change == "modified":
        yield file.path, _Said(old, new)
    else:
        if file.old_path and file.change in ("deleted", "renamed"):
            yield file.old_path, _Said(old, ABSENT)
        if file.new_path:
            yield file.new_path, _Said(ABSENT, new)


def _real(effect: Effect) -> Iterator[tuple[str, _Said]]:
    if effect.old_path is None:
        yield effect.path, _Said(effect.old_mode, effect.new_mode)
        return
    if effect.change == "renamed":
        yield effect.old_path, _Said(effect.old_mode, ABSENT)
    yield effect.path, _Said(ABSENT, effect.new_mode)


def _mismatch(path: str, message: str) -> Reason:
    return about(path, "declared_mismatch", message)
