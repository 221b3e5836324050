"""What is allowed in the commands of a plan, and yet rarely what somebody meant."""

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from pipeline_defs.plan.checking import closest, suggestion
from pipeline_defs.plan.findings import Finding, Loc
from pipeline_defs.plan.model import Plan

PLACEHOLDERS = ("prompt", "files", "worktree", "feedback", "task", "attempt", "plan_dir")
OF_COMPENSATIONS = ("worktree", "ledger", "task", "commit", "reason", "plan_dir")
_LOOKS_LIKE_ONE = re.compile(r"(?<![$@%#\w{}])\{([a-z][a-z_]*)\}(?!\})", re.IGNORECASE)
"""A name in braces; not `${HOME}`, `@{upstream}`, `%{http_code}` and other programs' own."""
_SHELLS = {"sh", "bash", "dash", "ash", "ksh", "zsh"}
_RUNS_ITS_NEXT_WORD = re.compile(r"-[a-z]*c")
_FREE_TEXT = {
    "prompt": "the words of a prompt",
    "feedback": "what a tool or a gate printed",
    "files": "the names of files",
    "reason": "what a person wrote",
}


def command_warnings(plan: Plan) -> Iterator[Finding]:
    """Find placeholders that do not exist, and those that a shell would read as program text."""
    for name, tool in plan.tools.items():
        yield from _of_command(("tools", name, "command"), tool.command, in_environment=True)
    for name, gate in plan.gates.items():
        yield from _of_command(("gates", name, "command"), gate.command, in_environment=False)
    for w, workstream in enumerate(plan.workstreams):
        for t, task in enumerate(workstream.tasks):
            for n, action in enumerate(task.compensation or ()):
                loc = ("workstreams", w, "tasks", t, "compensation", n, "command")
                yield from _of_command(loc, action.command, OF_COMPENSATIONS, in_environment=True)


def names_in_braces(text: str) -> list[str]:
    """Return what may be meant as placeholders, each once."""
    return list(dict.fromkeys(match[1] for match in _LOOKS_LIKE_ONE.finditer(text)))


def _of_command(
    loc: Loc,
    command: Sequence[str],
    placeholders: Sequence[str] = PLACEHOLDERS,
    *,
    in_environment: bool,
) -> Iterator[Finding]:
    script = _script_of(command)
    for n, word in enumerate(command):
        for name in names_in_braces(word):
            if name not in placeholders:
                yield from _unknown((*loc, n), word, name, placeholders)
            elif n == script and name in _FREE_TEXT:
                yield _read_as_program((*loc, n), name, in_environment=in_environment)


def _unknown(loc: Loc, word: str, name: str, placeholders: Sequence[str]) -> Iterator[Finding]:
    """Speak of a name that is no placeholder, unless the word is a text with braces of its own."""
    if closest(name, placeholders) is None and len(word.split()) > 1:
        return
    message = f"`{{{name}}}` is not a placeholder and reaches the command as it is."
    yield Finding(loc, message, suggestion(name, placeholders, "placeholders"))


def _script_of(command: Sequence[str]) -> int | None:
    """Return the index of the word that a shell reads as a program: `sh -c WORD`."""
    for n, word in enumerate(command[:-2]):
        if PurePosixPath(word).name in _SHELLS:  # also behind `env`, `timeout 60` and the like
            for m in range(n + 1, len(command) - 1):
                if _RUNS_ITS_NEXT_WORD.fullmatch(command[m]):
                    return m + 1
                if command[m][:1] not in "-+" and command[m - 1] not in ("-o", "+o", "-O", "+O"):
                    break  # a script file; what follows are its arguments
    return None


def _read_as_program(loc: Loc, name: str, *, in_environment: bool) -> Finding:
    as_argument = f'[sh, -c, \'... "$1"\', sh, "{{{name}}}"]'
    if name == "files":
        hint = 'Hand them over as arguments: [sh, -c, \'... "$@"\', sh, "{files}"].'
    elif in_environment:
        hint = f'Write "$PATCHLINE_{name.upper()}", or hand it over: {as_argument}.'
    else:
        hint = f"Hand it over as an argument: {as_argument}."
    message = f"The shell reads {_FREE_TEXT[name]} as part of its program: `{{{name}}}`."
    return Finding(loc, message, hint)
