"""A YAML or JSON file as plain data, with the line and column of every key and value.

Reads what people write, and refuses what only attackers and accidents do: more than one document,
duplicate keys, tags, aliases that unfold without end (design section 3, "From plan to Dagster").
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from pipeline_defs.plan.findings import Finding, Loc, Position
from pipeline_defs.plan.syntax import explain_syntax

MAX_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 64
MAX_NODES = 500_000
_BEYOND = 2**53

# The C parser is the same grammar, and eight times as fast on a plan of thousands of tasks.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_SURROGATE = re.compile(r"(?<=\\u)[dD][89a-fA-F][0-9a-fA-F]{2}")


@dataclass
class Document:
    """What a file says.

    Attributes:
        data: dicts, lists and scalars without `x-*` and `_comment*` keys; None when unreadable.
        findings: everything wrong with the file as YAML or JSON.
    """

    data: Any = None
    findings: list[Finding] = field(default_factory=list)
    keys: dict[Loc, Position] = field(default_factory=dict)
    values: dict[Loc, Position] = field(default_factory=dict)

    def position(self, loc: Loc, *, at_key: bool = False) -> Position:
        """Return the place of a value or its key, or of the nearest thing around it."""
        if at_key and loc in self.keys:
            return self.keys[loc]
        while loc and loc not in self.values:
            loc = loc[:-1]
        return self.values.get(loc, Position(1, 1))


def read_document(data: bytes, *, as_json: bool = False) -> Document:
    """Read a file's bytes; never raises for bad content, the findings say what is wrong."""
    document = Document()
    problem = _unfit(data)
    if problem is not None:
        document.findings.append(problem)
        return document
    text = data.decode("utf-8-sig")
    try:
        source = _json_source(text) if as_json else text
        _check_shape(source)
        node = yaml.compose(source, Loader=_Loader)
    except (yaml.YAMLError, _JsonError) as error:
        document.findings.append(_syntax_finding(error, text))
        return document
    if node is None:
        document.findings.append(Finding((), "The file is empty.", "Begin with `plan: my-plan`."))
        return document
    builder = _Builder(document, text if as_json else None)
    try:
        document.data = builder.build(node, ())
    except _TooMuch as error:
        document.findings.append(error.finding)
    return document


def _unfit(data: bytes) -> Finding | None:
    """Say why these bytes cannot be a plan at all."""
    if len(data) > MAX_BYTES:
        return Finding(
            (),
            f"The file has {len(data)} bytes; a plan has at most {MAX_BYTES}.",
            "Split it into several plans.",
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig", errors="replace")
        return Finding(
            (),
            f"Byte 0x{data[error.start]:02x} is not UTF-8.",
            "Save the file as UTF-8.",
            position=_position_after(before),
        )
    control = _CONTROL.search(text)
    if control is not None:
        return Finding(
            (),
            f"The file holds the control character {_name_of(control[0])}.",
            "Remove it; a plan is plain text.",
            position=_position_after(text[: control.start()]),
        )
    return None


def _name_of(character: str) -> str:
    return "NUL" if character == "\0" else f"U+{ord(character):04X}"


def _position_after(before: str) -> Position:
    return Position(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)


class _JsonError(ValueError):
    """A JSON file that is not JSON."""

    def __init__(self, message: str, position: Position) -> None:
        super().__init__(message)
        self.position = position


def _json_source(text: str) -> str:
    """Check JSON, and spell it so that the YAML parser takes it with every position unchanged."""
    try:
        json.loads(text, parse_constant=_refuse_constant)
    except _JsonError:
        raise
    except json.JSONDecodeError as error:
        raise _JsonError(error.msg, Position(error.lineno, error.colno)) from error
    except RecursionError as error:
        raise _JsonError("nested too deeply", Position(1, 1)) from error
    except ValueError as error:  # Python's limit on the digits of a number
        raise _JsonError("a number has too many digits", Position(1, 1)) from error
    # YAML knows no surrogate pairs; the values are taken from the original text.
    return _SURROGATE.sub("0041", text)


def _refuse_constant(name: str) -> None:
    raise _JsonError(f"{name} is not a number", Position(1, 1))


def _syntax_finding(error: Exception, text: str) -> Finding:
    if isinstance(error, _JsonError):
        return Finding((), f"Not valid JSON: {error}.", None, position=error.position)
    message, hint, mark = explain_syntax(error, text)
    return Finding((), message, hint, position=_at(mark) if mark else Position(1, 1))


def _check_shape(text: str) -> None:
    """Refuse nesting beyond reason before anything recursive looks at it."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            mark: Any = event.start_mark
            raise yaml.MarkedYAMLError(
                problem=f"nested more than {MAX_DEPTH} levels deep", problem_mark=mark
            )


class _TooMuch(Exception):
    """The document unfolds without end."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding


class _Builder:
    """Turns YAML nodes into data, noting positions on the way."""

    def __init__(self, document: Document, json_text: str | None) -> None:
        self._document = document
        self._json_text = json_text
        self._nodes = 0
        self._open: list[yaml.Node] = []
        self._construct = yaml.constructor.SafeConstructor()

    def build(self, node: yaml.Node, loc: Loc) -> Any:
        """Return the node's data."""
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise self._too_much(node, loc, f"The plan unfolds to more than {MAX_NODES} values.")
        if len(self._open) > MAX_DEPTH or any(node is outer for outer in self._open):
            raise self._too_much(node, loc, "An alias contains itself, or unfolds too deeply.")
        self._document.values.setdefault(loc, _at(node.start_mark))
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, loc)
        self._open.append(node)
        self._check_tag(node, loc, "seq" if isinstance(node, yaml.SequenceNode) else "map")
        built: Any
        if isinstance(node, yaml.SequenceNode):
            built = [self.build(child, (*loc, n)) for n, child in enumerate(node.value)]
        else:
            built = self._mapping(node, loc)
        self._open.pop()
        return built

    def _mapping(self, node: yaml.Node, loc: Loc) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _TAG + "merge":
                for source in self._merge_sources(value_node, loc):
                    merged = {**self._mapping(source, loc), **merged}
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                self._note(key_node, loc, "A key must be text.", "Put it in quotes.")
                continue
            key = self._key(key_node, loc)
            if _is_comment(key, loc):
                continue
            here = (*loc, key)
            if key in own:
                first = self._document.keys[here]
                self._note(
                    key_node,
                    here,
                    f"`{key}` is here twice.",
                    f"Keep one; the first is on line {first.line}.",
                )
                continue
            # Merged values were noted first; what the mapping says itself lies elsewhere.
            self._document.keys[here] = _at(key_node.start_mark)
            self._document.values[here] = _at(value_node.start_mark)
            own[key] = self.build(value_node, here)
        return {**merged, **own}

    def _merge_sources(self, node: yaml.Node, loc: Loc) -> Iterator[yaml.Node]:
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for source in sources:
            if not isinstance(source, yaml.MappingNode):
                self._note(source, loc, "`<<` merges mappings only.", "Name a mapping's anchor.")
                continue
            self._nodes += 1
            if self._nodes > MAX_NODES or any(source is outer for outer in self._open):
                raise self._too_much(source, loc, "A merge unfolds without end.")
            self._open.append(source)
            yield source
            self._open.pop()

    def _scalar(self, node: yaml.ScalarNode, loc: Loc) -> Any:
        tag = node.tag.removeprefix(_TAG)
        # A plan has no dates: what looks like one is text.
        if self._json_text is None and tag in ("str", "timestamp"):
            return self._clean(node, loc, node.value)
        try:
            if self._json_text is not None:
                value = self._json_value(node)
            elif tag in ("null", "bool", "int", "float"):
                value = self._construct.construct_object(node)
            else:
                self._check_tag(node, loc, "str")
                value = node.value
        except (ValueError, KeyError):
            self._note(
                node, loc, f"`{node.value[:40]}` cannot be read as {tag}.", "Put text in quotes."
            )
            return None
        if isinstance(value, str):
            return self._clean(node, loc, value)
        if isinstance(value, int | float) and not abs(value) < _BEYOND:  # also NaN
            message = f"`{node.value[:40]}` is not a number of any use."
            self._note(node, loc, message, "Leave the key out.")
            return None
        return value

    def _clean(self, node: yaml.ScalarNode, loc: Loc, text: str) -> str:
        """Refuse escapes for what no program can be handed as text."""
        if "\0" in text or any("\ud800" <= c <= "\udfff" for c in text):
            self._note(node, loc, "The text holds a NUL or half a character.", "Remove it.")
            return "unreadable"
        return text

    def _json_value(self, node: yaml.Node) -> Any:
        """Read a JSON value by JSON's own rules; YAML's differ in numbers and escapes."""
        assert self._json_text is not None
        return json.loads(self._json_text[node.start_mark.index : node.end_mark.index])

    def _key(self, node: yaml.ScalarNode, loc: Loc) -> str:
        text = node.value if self._json_text is None else self._json_value(node)
        return self._clean(node, loc, text)

    def _check_tag(self, node: yaml.Node, loc: Loc, plain: str) -> None:
        if node.tag != _TAG + plain:
            tag = node.tag.replace(_TAG, "!!")
            self._note(
                node, loc, f"The YAML tag `{tag}` has no meaning in a plan.", "Put text in quotes."
            )

    def _note(self, node: yaml.Node, loc: Loc, message: str, hint: str) -> None:
        self._document.findings.append(Finding(loc, message, hint, position=_at(node.start_mark)))

    def _too_much(self, node: yaml.Node, loc: Loc, message: str) -> _TooMuch:
        return _TooMuch(
            Finding(loc, message, "Write it out without aliases.", position=_at(node.start_mark))
        )


def _is_comment(key: str, loc: Loc) -> bool:
    """Tell whether a key is a person's note; variables and ids may begin with `x-` in earnest."""
    if loc and loc[-1] == "env":
        return False
    return key.startswith("_comment") or (
        key.startswith("x-") and loc not in (("tools",), ("gates",))
    )


def _at(mark: Any) -> Position:
    return Position(mark.line + 1, mark.column + 1)
