"""Every crash point of the product, found by reading its source."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("state", "resources", "pipeline_defs")
CALL = "crash_point"


@dataclass(frozen=True, order=True)
class Point:
    """One call of `crash_point`.

    Attributes:
        file: relative to the repository.
        line: of the call.
        name: its first argument; None when that is no literal string.
        between: its second; None likewise.
    """

    file: str
    line: int
    name: str | None
    between: str | None


def find_points() -> list[Point]:
    """All calls in the product, in the order of files and lines."""
    return sorted(point for room in ROOMS for point in _of_room(ROOT / room))


def _of_room(room: Path) -> Iterator[Point]:
    for path in room.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if f"{CALL}(" not in text or path.stem == "crash_points":
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and _called(node.func) == CALL:
                name, between = [*map(_literal, node.args), None, None][:2]
                yield Point(str(path.relative_to(ROOT)), node.lineno, name, between)


def _called(function: ast.expr) -> str:
    return getattr(function, "id", None) or getattr(function, "attr", "")


def _literal(argument: ast.expr) -> str | None:
    value = argument.value if isinstance(argument, ast.Constant) else None
    return value if isinstance(value, str) else None
