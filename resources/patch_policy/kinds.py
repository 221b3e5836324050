"""What kinds of files a patch may make: modes, links, submodules."""

from collections.abc import Iterator

from resources.effects import (
    ABSENT,
    EXECUTABLE,
    REGULAR,
    SUBMODULE,
    SYMLINK,
    Change,
    Effect,
    printable,
)
from resources.patch_policy.reasons import Reason, about
from resources.specs import PolicySpec


def odd_kinds(change: Change, policy: PolicySpec) -> Iterator[Reason]:
    """Submodules and special modes always; links and executable bits unless allowed."""
    for effect in change.effects:
        modes = {effect.old_mode, effect.new_mode} - {ABSENT}
        path, shown = effect.path, printable(effect.path)
        if SUBMODULE in modes:
            yield about(path, "submodule", f"{shown} is a submodule or a repository of its own")
        elif odd := modes - {REGULAR, EXECUTABLE, SYMLINK}:
            text = f"{shown} has the mode {max(odd)}; files have {REGULAR} or {EXECUTABLE}"
            yield about(path, "mode", text)
        elif SYMLINK in modes and not policy.allow_symlinks:
            text = f"{shown} is a symbolic link; policy.allow_symlinks permits it"
            yield about(path, "symlink", text)
        elif _turns_executable(effect) and not policy.allow_exec:
            text = f"{shown} changes its executable bit; policy.allow_exec permits it"
            yield about(path, "mode", text)


def _turns_executable(effect: Effect) -> bool:
    was, is_now = effect.old_mode == EXECUTABLE, effect.new_mode == EXECUTABLE
    return effect.new_mode != ABSENT and was != is_now
