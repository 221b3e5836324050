r"""Line ends that a patch turns over: LF to CRLF, and back, in a whole file or in single lines.

Such a patch rewrites lines that stay as they are, and hides what it does besides. Each line counts
by itself: edits beside it are no excuse. A file of both kinds may be made uniform in the kind that
most of its lines have. Source: design section 6, "Patch limits".
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import product

from resources.effects import EXECUTABLE, REGULAR, Change, Effect, printable
from resources.patch_policy.reasons import Reason, about
from resources.patch_policy.sections import Section

_ENDS = {b"\n": "LF", b"\r\n": "CRLF", b"\r": "CR"}
_TELLING = re.compile(rb"[^\W_]|[\x80-\xff]")
"""In a line that is not empty or a bracket, of which every edit brings and takes some."""


def turned_line_ends(change: Change, texts: Sequence[Section]) -> Iterator[Reason]:
    """Files whose line ends are turned over.

    Only files with a carriage return in their changed lines are read at all.
    """
    suspects = [
        text.effect
        for text in texts
        if {text.effect.old_mode, text.effect.new_mode} <= {REGULAR, EXECUTABLE}
        and text.effect.path not in change.size.binaries
        and any(b"\r" in line for line in (*text.removed, *(line for _, line in text.added)))
    ]
    contents = change.contents(
        blob for effect in suspects for blob in (effect.old_blob, effect.new_blob)
    )
    for effect in suspects:
        old, new = contents[effect.old_blob], contents[effect.new_blob]
        if old is None or new is None:
            text = f"{printable(effect.path)} is too large to judge its line ends"
            yield about(effect.path, "oversize", text)
        elif turn := _turn(old, new):
            yield about(effect.path, "eol", _sentence(effect, *turn))


def _sentence(effect: Effect, was: bytes, now: bytes) -> str:
    turn = f"from {_ENDS[was]} to {_ENDS[now]}"
    return f"the line ends of {printable(effect.path)} are turned {turn}; keep them as they were"


def _turn(old: bytes, new: bytes) -> tuple[bytes, bytes] | None:
    """From which line end to which other a file is turned; None when it is not."""
    was, now = _usual_end(old), _usual_end(new)
    if was is None:
        return None
    if now not in (was, None):
        return was, now
    return _turned_in_part(old, new, was)


def _usual_end(content: bytes) -> bytes | None:
    """The line end of more than half of the lines."""
    crlf = content.count(b"\r\n")
    counts = {b"\r\n": crlf, b"\n": content.count(b"\n") - crlf, b"\r": content.count(b"\r") - crlf}
    end, most = max(counts.items(), key=lambda item: item[1])
    return end if 2 * most > sum(counts.values()) else None


def _turned_in_part(old: bytes, new: bytes, usual: bytes) -> tuple[bytes, bytes] | None:
    """Lines that vanish and are there again with another end, which is not the file's usual one.

    One line that says something is enough; of the others it takes half of what vanishes.
    """
    before, after = Counter(old.splitlines(True)), Counter(new.splitlines(True))
    vanished, appeared = _by_text(before - after), _by_text(after - before)
    turned: Counter[tuple[bytes, bytes]] = Counter()
    for text, ends in vanished.items():
        for was, now in product(ends, appeared.get(text, ())):
            if was and now and now not in (was, usual):
                if _TELLING.search(text):
                    return was, now
                turned[was, now] += min(ends[was], appeared[text][now])
    lines = sum(ends.total() for ends in vanished.values())
    return next((turn for turn, times in turned.most_common(1) if 2 * times >= lines), None)


def _by_text(lines: Counter[bytes]) -> dict[bytes, Counter[bytes]]:
    """How often each text comes with which end."""
    found: dict[bytes, Counter[bytes]] = {}
    for line, times in lines.items():
        text, end = _parted(line)
        found.setdefault(text, Counter())[end] += times
    return found


def _parted(line: bytes) -> tuple[bytes, bytes]:
    """A line's text without the blanks around it, and its end; the last line may have none."""
    end = next((end for end in (b"\r\n", b"\n", b"\r") if line.endswith(end)), b"")
    return line.strip(), end
