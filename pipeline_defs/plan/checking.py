"""From plain data to a `Plan`, with every complaint of the model put in words for people."""

import copy
import difflib
import json
import shlex
import types
import typing
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pipeline_defs.plan.findings import Finding, Loc
from pipeline_defs.plan.model import Plan

_ROUNDS = 4
UNREADABLE = "0-unreadable-0"  # stands for a name that could not be read; nothing is said of it
_MISSING: dict[str, Any] = {
    "plan": UNREADABLE,
    "id": UNREADABLE,
    "action": "notify",
    "command": ["true"],
    "workstreams": [{"id": UNREADABLE, "tasks": []}],
    "tasks": [],
}
_ITEMS: dict[str, Any] = {
    "workstreams": {"id": UNREADABLE, "tasks": []},
    "tasks": {"id": UNREADABLE},
    "compensation": {"action": "notify"},
    "expected_exit_codes": 0,
    "permanent_exit_codes": 0,
}
_SLUG_HINT = "Use lower-case letters, digits and `-`, beginning with a letter or digit"


def closest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that somebody who wrote `word` most likely meant."""
    known = list(known)
    by_lower = {one.lower(): one for one in known}
    found = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def suggestion(word: str, known: Sequence[str], what: str) -> str:
    """Write the hint for a name that does not exist."""
    near = closest(word, known)
    if near is not None:
        return f"Did you mean `{near}`?"
    if not known:
        return f"There are no {what}."
    listed = ", ".join(f"`{one}`" for one in known[:12])
    return f"The {what} are {listed}{', ...' if len(known) > 12 else ''}."


def check_model(data: Any) -> tuple[Plan | None, list[Finding], bool]:
    """Validate plain data.

    Returns:
        The plan; everything wrong with the data; and whether names were among that. With findings
        the plan is what could be made of the rest, so that its references can be checked too, or
        None when nothing could.
    """
    if not isinstance(data, dict):
        hint = "Begin with `plan: my-plan`, then `workstreams:`."
        return None, [Finding((), "A plan is a mapping of keys to values.", hint)], False
    findings: list[Finding] = []
    names_wrong = False
    data = copy.deepcopy(data)
    for n in range(_ROUNDS):
        try:
            plan = Plan.model_validate_json(json.dumps(data), strict=True)
        except ValidationError as error:
            errors = [one for one in error.errors(include_url=False) if not _is_echo(one)]
            if n == 0:
                findings = findings_of(error, Plan)
                names_wrong = any(_is_name(one) for one in errors)
            _repair(data, errors)
        else:
            return plan, findings, names_wrong
    return None, findings, names_wrong


def findings_of(error: ValidationError, root: type[BaseModel]) -> list[Finding]:
    """Put what pydantic says about data for the model `root` in words for people."""
    errors = [one for one in error.errors(include_url=False) if not _is_echo(one)]
    return [_finding(one, root) for one in errors]


def _is_echo(error: ErrorDetails) -> bool:
    """Tell whether an error only repeats that the items of a list are wrong.

    Pydantic counts the good items alone, and so calls a list empty that has nothing but bad ones.
    """
    return error["type"] == "too_short" and bool(error.get("input"))


def _is_name(error: ErrorDetails) -> bool:
    """Tell whether an error takes away a name that others may refer to."""
    loc = _loc(error)
    if loc[-1:] == ("id",) or "[key]" in error["loc"]:
        return True
    if loc[-1:] in {("tasks",), ("workstreams",), ("tools",), ("gates",)}:
        return error["type"] != "missing"
    return loc[-2:-1] in {("tasks",), ("workstreams",)} or (
        len(loc) == 2 and loc[0] in ("tools", "gates")
    )


def _loc(error: ErrorDetails) -> Loc:
    """Return where an error is, in terms of the file."""
    return tuple(part for part in error["loc"] if part != "[key]")


def _repair(data: dict[str, Any], errors: list[ErrorDetails]) -> None:
    """Take out what the errors point at, or put something harmless in its place.

    List items are replaced and never removed, so that the indexes of the others stay true.
    """
    for error in errors:
        *way, last = _loc(error) or ("",)
        holder: Any = data
        for part in way:
            holder = holder[part] if _has(holder, part) else None
        if error["type"] == "missing" and isinstance(holder, dict):
            holder[last] = copy.deepcopy(_MISSING.get(str(last)))
        elif isinstance(holder, list) and isinstance(last, int) and _has(holder, last):
            holder[last] = copy.deepcopy(_ITEMS.get(_named(tuple(way)), UNREADABLE))
        elif isinstance(holder, dict):
            holder.pop(last, None)


def _has(holder: Any, part: str | int) -> bool:
    if isinstance(holder, dict):
        return part in holder
    return isinstance(holder, list) and isinstance(part, int) and part < len(holder)


def _finding(error: ErrorDetails, root: type[BaseModel]) -> Finding:
    """Put one of pydantic's errors in words."""
    loc, kind, given = _loc(error), error["type"], error.get("input")
    last = loc[-1] if loc else "plan"
    context = error.get("ctx", {})
    if kind == "extra_forbidden":
        known = sorted(_fields_at(loc[:-1], root))
        hint = suggestion(str(last), known, "keys here")
        return Finding(loc, f"Unknown key `{last}`.", hint, at_key=True)
    if kind == "missing":
        return Finding(loc, f"`{last}` is missing.", _example(str(last)))
    if "[key]" in error["loc"]:
        return Finding(loc, f"`{last}` is not an id.", f"{_SLUG_HINT}.", at_key=True)
    if kind == "string_pattern_mismatch":
        return _bad_name(loc, str(last), str(given))
    if kind == "value_error":
        message, _, hint = str(context.get("error", error["msg"])).partition("|")
        return Finding(loc, message, _sentence(hint))
    if kind in ("enum", "literal_error"):
        return _bad_choice(loc, str(last), given, root)
    name = f"`{last}`" if isinstance(last, str) else f"Item {last + 1} of `{_named(loc)}`"
    if kind in ("too_short", "string_too_short"):
        return Finding(loc, f"{name} is empty.", _example(str(last)))
    wanted, hint = _wanted(kind, given, context)
    return Finding(loc, f"{name} must be {wanted}, not {_shown(given)}.", hint)


def _wanted(kind: str, given: Any, context: dict[str, Any]) -> tuple[str, str | None]:
    """Say what a value should have been."""
    if kind == "string_type":
        return "text", _quote_hint(given)
    if kind in ("tuple_type", "list_type"):
        return "a list", _list_hint(given)
    if kind in ("dict_type", "model_type", "model_attributes_type", "dataclass_type"):
        return "a mapping of keys to values", None
    if kind == "bool_type":
        return "true or false", None
    if kind in ("int_type", "int_from_float", "int_parsing"):
        return "a whole number", _number_hint(given)
    if kind in ("float_type", "float_parsing"):
        return "a number", _number_hint(given)
    limits = {"greater_than": "gt", "greater_than_equal": "ge", "less_than_equal": "le"}
    if kind in limits:
        words = {"gt": "greater than", "ge": "at least", "le": "at most"}[limits[kind]]
        return f"{words} {context[limits[kind]]:g}", None
    if kind == "string_too_long":
        return f"at most {context['max_length']} characters long", None
    return "something else", kind.replace("_", " ").capitalize() + "."


def _shown(given: Any) -> str:
    if given is None:
        return "nothing"
    if isinstance(given, dict):
        return "a mapping" if given else "an empty mapping"
    if isinstance(given, list | tuple):
        return "a list" if given else "an empty list"
    return json.dumps(given, ensure_ascii=False)[:60]


def _quote_hint(given: Any) -> str | None:
    if isinstance(given, bool):
        said = "`yes`, `no`, `on`, `off`, `true` and `false`"
        return f"YAML reads an unquoted {said} as truth values: put the word in quotes."
    if isinstance(given, int | float):
        return f'Put it in quotes: "{given}".'
    if isinstance(given, dict) and len(given) == 1:
        [(key, value)] = given.items()
        if value is None:
            return f'Put it in quotes: "{{{key}}}".'
    return None


def _list_hint(given: Any) -> str | None:
    if isinstance(given, str):
        try:
            words = shlex.split(given)
        except ValueError:
            words = [given]
        return f"Write a list: {json.dumps(words, ensure_ascii=False)}."
    return "Write `[]` or leave the key out." if given is None else None


def _number_hint(given: Any) -> str | None:
    return "Write it without quotes." if isinstance(given, str) and given.isdecimal() else None


def _bad_name(loc: Loc, last: str, given: str) -> Finding:
    if last in ("base", "target"):
        return Finding(loc, f"`{given[:60]}` is not a git name.", "Name a branch, such as `main`.")
    near = "-".join("".join(c if c.isalnum() else " " for c in given.lower()).split())
    near = near.encode("ascii", "ignore").decode()
    example = f", such as `{near}`" if near and near != given else ""
    return Finding(loc, f"`{given[:60]}` is not an id.", f"{_SLUG_HINT}{example}.")


def _bad_choice(loc: Loc, last: str, given: Any, root: type[BaseModel]) -> Finding:
    choices = _choices(_annotation_at(loc, root))
    hint = suggestion(str(given), choices, "choices")
    return Finding(loc, f"`{last}` cannot be {_shown(given)}.", hint)


def _example(key: str) -> str | None:
    return {
        "plan": "Begin with `plan: my-plan`.",
        "workstreams": "Add `workstreams:` with at least one workstream.",
        "tasks": "Add `tasks:` with at least one task.",
        "id": "Add `id: a-short-name`.",
        "command": 'Add `command:`, a list of words such as [ruff, check, "{files}"].',
    }.get(key)


def _named(loc: Loc) -> str:
    return next((part for part in reversed(loc) if isinstance(part, str)), "plan")


def _sentence(text: str) -> str | None:
    return text[:1].upper() + text[1:] + "." if text else None


def _fields_at(loc: Loc, root: type[BaseModel]) -> list[str]:
    """Return the keys that the mapping at a location may have."""
    model = _annotation_at(loc, root)
    return list(model.model_fields) if _is_model(model) else []


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _annotation_at(loc: Loc, root: type[BaseModel]) -> Any:
    """Follow a location through a model's annotations."""
    at: Any = root
    for part in loc:
        at = _plain(at)
        if _is_model(at):
            fields = at.model_fields
            at = fields[part].annotation if part in fields else None
        else:
            inner = typing.get_args(at)
            at = (inner[1] if typing.get_origin(at) is dict else inner[0]) if inner else None
    return _plain(at)


def _plain(annotation: Any) -> Any:
    """Take `| None` and `Annotated` off an annotation."""
    while True:
        origin = typing.get_origin(annotation)
        if origin is typing.Annotated:
            annotation = typing.get_args(annotation)[0]
        elif origin in (types.UnionType, typing.Union):
            annotation = next(a for a in typing.get_args(annotation) if a is not type(None))
        else:
            return annotation


def _choices(annotation: Any) -> list[str]:
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return [one.value for one in annotation]
    return []
