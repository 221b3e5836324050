"""Files that are no text: judged by their content, whatever any attributes say."""

from collections.abc import Iterator, Sequence

from resources.effects import Change, printable
from resources.patch_policy.reasons import Reason, about
from resources.patch_policy.sections import Section


def binaries(change: Change, texts: Sequence[Section]) -> Iterator[Reason]:
    """Files with NUL bytes: those that git found, and those where they come late in the file."""
    found = dict.fromkeys(change.size.binaries)
    found |= dict.fromkeys(
        text.effect.path for text in texts if any(b"\0" in line for _, line in text.added)
    )
    for path in found:
        message = f"{printable(path)} is a binary file; policy.allow_binary permits it"
        yield about(path, "binary", message)
