"""What a tool or gate sees of the caller's environment: an allow-list (design section 6)."""

import fnmatch
import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

INHERITED = ("PATH", "HOME", "LANG", "LC_*", "TZ", "TMPDIR")


def allowed_environment(
    *,
    allow: Iterable[str] = (),
    extra: Mapping[str, str] | None = None,
    caller: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The environment for a tool or gate: little of the caller's, so that runs repeat.

    Of `caller` (None: this process's) only PATH, HOME, LANG, LC_*, TZ, TMPDIR and what `allow`
    names (a name or a pattern such as `AWS_*`). The folder of our own interpreter goes to the end
    of PATH, so that programs installed beside patchline are found last. `extra` wins over
    everything, PATH included. Design, section 6.
    """
    caller = os.environ if caller is None else caller
    patterns = (*INHERITED, *allow)
    env = {
        name: value
        for name, value in caller.items()
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
    }
    folders = env.get("PATH", os.defpath).split(os.pathsep)
    beside = str(Path(sys.executable).parent)
    env["PATH"] = os.pathsep.join(folders if beside in folders else [*folders, beside])
    env.update(extra or {})
    return env


def find_command(name: str, env: Mapping[str, str], *, cwd: str | Path | None = None) -> str | None:
    """Where `run_process` would find program `name`, or None; for checks before a run.

    A name with a slash is looked up from `cwd`, as the system does.
    """
    if os.sep in name and cwd is not None:
        name = os.path.join(cwd, name)
    return shutil.which(name, path=env.get("PATH", os.defpath))
