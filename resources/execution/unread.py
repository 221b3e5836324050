"""Why git could not read files of a working tree, in words that somebody can act upon."""

import re

from resources.effects import printable
from resources.git.command import GitError, GitOverrunError
from resources.patch_policy import Reason
from resources.patch_policy.reasons import about, overrun
from resources.worktrees import UnreadableError

_NOT_IN_ITS_ENCODING = tuple(
    re.compile(f"^fatal: {words}", re.MULTILINE)
    for words in (
        r"failed to encode '(.*)' from (\S+) to ",
        r"BOM is \w+ in '(.*)' if encoded as (\S+)",
        r"encoding '(.*)' from (\S+) to \S+ and back",
    )
)
"""What git says of a file, and of the encoding that its attributes name."""
_NO_ENCODING = "fatal: true/false are no valid working-tree-encodings"


def why_unread(error: UnreadableError | GitError) -> Reason | None:
    """The reason why what a tool left behind is refused unread; None when the tool is not to blame.

    Args:
        error: what came of reading it.
    """
    match error:
        case UnreadableError():
            return error.reason
        case GitOverrunError():
            return overrun(error)
        case _:
            return wrong_encoding(error)


def wrong_encoding(error: GitError) -> Reason | None:
    """The reason when a file's `working-tree-encoding` has stopped git; None for anything else."""
    for words in _NOT_IN_ITS_ENCODING:
        if found := words.search(error.stderr):
            path, encoding = found.groups()
            return about(
                path,
                "attributes",
                f"git cannot read {printable(path)} as {printable(encoding)}, which .gitattributes "
                "names as its working-tree-encoding; write it so, or correct .gitattributes",
            )
    if _NO_ENCODING in error.stderr:
        text = "a .gitattributes has a working-tree-encoding without a name"
        return Reason("attributes", f"{text}; name one, or take it out")
    return None
