"""What a YAML parser's complaint means to the person who wrote the plan."""

from typing import Any

_QUOTE_GLOB = 'Put a glob that begins with `*` in quotes: "**/*.py".'
_MARKS = (
    # (part of the parser's words, what we say, hint); the first that fits is used
    (
        "expected a single document",
        "A second YAML document begins here.",
        "One file is one plan: remove the `---`.",
    ),
    ("alias", "`*` begins an alias that is not defined.", _QUOTE_GLOB),
    (
        "mapping values are not allowed",
        "A second `: ` on one line, or a wrong indent.",
        "Put text that contains `: ` in quotes, and line keys up.",
    ),
    ("duplicate anchor", "This anchor is defined twice.", "Give it another name."),
    ("nested more", "The plan is {problem}.", "Write it flatter."),
    (
        "unexpected end of stream",
        "A quote that is opened here or before is never closed.",
        "Close it.",
    ),
    ("did not find expected ',' or", "A `[` or `{` is never closed.", "Close it."),
    ("did not find expected key", "This line does not fit in.", "Line it up with its siblings."),
)


def explain_syntax(error: Exception, text: str) -> tuple[str, str | None, Any]:
    """Say in plain words what a YAML error is about.

    Returns:
        The message, a hint, and the parser's mark of the place (None when it has none).
    """
    problem = str(getattr(error, "problem", None) or getattr(error, "reason", None) or error)
    context = str(getattr(error, "context", None) or "")
    context_mark: Any = getattr(error, "context_mark", None)
    mark: Any = getattr(error, "problem_mark", None) or context_mark
    if "cannot start any token" in problem and mark is not None:
        return *_bad_character(text, mark), mark
    for words, message, hint in _MARKS:
        if words in f"{context} {problem}":
            # What is never closed is noticed at the end and must be mended where it begins.
            begins = "never closed" in message or "begins an alias" in message
            place = context_mark if begins else mark
            return message.replace("{problem}", problem), hint, place or mark
    said = f"{context}: {problem}" if context else problem
    return f"Not valid YAML: {said}.", None, mark


def _bad_character(text: str, mark: Any) -> tuple[str, str]:
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    character = line[mark.column : mark.column + 1]
    if character == "\t":
        return "A tab cannot indent YAML.", "Indent with spaces."
    return f"Text cannot begin with `{character}`.", "Put it in quotes."
