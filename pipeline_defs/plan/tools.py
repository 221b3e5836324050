"""What a tool of each kind must have, and what it cannot have."""

from collections.abc import Iterator

from pipeline_defs.plan.checking import suggestion
from pipeline_defs.plan.commands import names_in_braces
from pipeline_defs.plan.findings import Finding, Loc
from pipeline_defs.plan.model import Plan
from resources.specs import FILE_PLACEHOLDERS, ToolKind, ToolSpec

_ADD_COMMAND = 'Add `command:`, a list of words such as [ruff, check, "{files}"].'
_ADD_FILE = 'Add `file:`, such as "{plan_dir}/fix.patch".'


def check_tools(plan: Plan, findings: list[Finding]) -> Iterator[Finding]:
    """Find tools that do not say what they are made of.

    Args:
        plan: the plan.
        findings: what is known to be wrong; nothing more is said of a tool that could not be read.
    """
    unread = {finding.loc[:2] for finding in findings}
    for name, tool in plan.tools.items():
        if ("tools", name) not in unread:
            check = _of_patch if tool.kind is ToolKind.PATCH else _of_command
            yield from check(("tools", name), tool)


def _of_command(loc: Loc, tool: ToolSpec) -> Iterator[Finding]:
    if tool.file is not None:
        hint = "Add `kind: patch`, or take `file` out." if not tool.command else "Take `file` out."
        message = "A tool that runs a command has no `file`; a tool of kind `patch` has."
        yield Finding((*loc, "file"), message, hint, at_key=True)
    elif "command" not in tool.model_fields_set:
        hint = f"{_ADD_COMMAND[:-1]}, or `kind: patch` and `file:`."
        yield Finding((*loc, "command"), "`command` is missing.", hint)
    elif not tool.command:
        yield Finding((*loc, "command"), "`command` is empty.", _ADD_COMMAND)


def _of_patch(loc: Loc, tool: ToolSpec) -> Iterator[Finding]:
    if "command" in tool.model_fields_set:
        message = "A tool of kind `patch` runs no command."
        hint = "Take `command` out, or `kind: patch`."
        yield Finding((*loc, "command"), message, hint, at_key=True)
    if tool.file is None:
        yield Finding((*loc, "file"), "`file` is missing.", _ADD_FILE)
    elif not tool.file.strip():
        yield Finding((*loc, "file"), "`file` is empty.", _ADD_FILE)
    else:
        for name in names_in_braces(tool.file):
            if name not in FILE_PLACEHOLDERS:
                hint = suggestion(name, FILE_PLACEHOLDERS, "placeholders of `file`")
                yield Finding((*loc, "file"), f"`{{{name}}}` has no meaning in `file`.", hint)
