"""Reasons with what differs from case to case folded away, so that the same failure groups."""

import re

_LONGEST = 300
"""Characters of a reason that are looked at: what tells failures apart comes first."""

_AFTER = re.compile(r"(?: \((?:permanent: no retry|after \d+ attempts?)\))+$")
"""How the retry rules end a reason (see `resources.execution.retries`): the failure is the same."""

_FOLDS = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        # A time is folded before its numbers, a path before the ids and hashes that are in it.
        (r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?", "<time>"),
        (r"\b[a-z][a-z0-9+.-]*://[^\s'\"<>]+", "<url>"),
        (r"(?<![\w/\\])[A-Za-z]:\\[^\s'\":,;]+", "<path>"),
        (r"(?<![\w/<])(?:~|\.{1,2})?(?:/[\w.@%+~-]+)+/?", "<path>"),
        (r"(?<![\w/])[\w.@+-]+(?:/[\w.@+-]+)+/?", "<path>"),
        (r"(?<![\w/])[\w@+-]+(?:\.[\w-]+)*\.[A-Za-z][A-Za-z0-9]{0,4}(?=:\d)", "<path>"),
        (
            r"\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b",
            "<id>",
        ),
        (r"\b(?:run|ws|task|wkr|uet|led|gate|att|evt|patch)_[0-9A-Za-z]{6,}\b", "<id>"),
        (r"\b[0-7][0-9A-HJKMNP-TV-Z]{25}\b", "<id>"),
        (r"\b0x[0-9a-fA-F]+\b", "<hex>"),
        (r"\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{7,64}\b", "<hash>"),
        # What an exit code or a signal says is not a matter of chance.
        (r"(?<!exit code )(?<!exit code -)(?<!signal )(?<![\w<])\d[\d_,]*(?:\.\d+)?", "<n>"),
        (r"(?:<n>[.:/-])+<n>", "<n>"),
        (r"<(path|id|hash|n)>(?:, <\1>)+", r"<\1>"),
        (r"\s+", " "),
    )
)


def fold(reason: str) -> str:
    """A reason with times, addresses, paths, ids, hashes and numbers replaced by their kind.

    Exit codes and signals stay, for they tell failures apart. What the retry rules append (the
    number of attempts, or that it is permanent) is left off.
    """
    folded = _AFTER.sub("", reason.strip())[:_LONGEST]
    for pattern, replacement in _FOLDS:
        folded = pattern.sub(replacement, folded)
    return folded.strip()
