"""What the codemods of the examples share: exact edits of a source text.

An edit replaces a range of characters and leaves everything else, comments and layout included, as
it was: a patch shows what was meant and nothing more. Standard library only, so that any Python
3.11 or newer can run a codemod.
"""

import argparse
import ast
import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Edit:
    """Replace the characters from `start` up to `end` by `text`."""

    start: int
    end: int
    text: str


class Source:
    """A Python source with its syntax tree and the way from tree positions to characters.

    Raises:
        SyntaxError: the text is not Python.
    """

    def __init__(self, text: str, name: str = "<source>") -> None:
        self.text = text
        self.name = name
        self.tree = ast.parse(text, filename=name)
        # Not splitlines: that also cuts at form feeds, where Python's own lines go on.
        self.lines = list(io.StringIO(text, newline=""))
        self._starts = [0]
        for line in self.lines:
            self._starts.append(self._starts[-1] + len(line))

    def line_start(self, line: int) -> int:
        """The character at which the 1-based line begins; one past the last is the end."""
        return self._starts[line - 1]

    def offset(self, line: int, column: int) -> int:
        """The character at a tree position (1-based line, column in UTF-8 bytes)."""
        before = self.lines[line - 1].encode()[:column].decode()
        return self.line_start(line) + len(before)

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        """Where the node's text begins and ends, in characters."""
        if node.end_lineno is None or node.end_col_offset is None:
            raise ValueError(f"{self.name}: a node without an end; it was not parsed from text")
        start = self.offset(node.lineno, node.col_offset)
        return start, self.offset(node.end_lineno, node.end_col_offset)

    def code(self, node: ast.expr | ast.stmt) -> str:
        """The node's own text."""
        start, end = self.span(node)
        return self.text[start:end]


def replaced(text: str, edits: Iterable[Edit]) -> str:
    """The text after all edits.

    Raises:
        ValueError: two edits overlap.
    """
    parts: list[str] = []
    position = 0
    for edit in sorted(edits, key=lambda e: (e.start, e.end)):
        if edit.start < position:
            raise ValueError(f"two edits overlap at character {edit.start}")
        parts += [text[position : edit.start], edit.text]
        position = edit.end
    return "".join([*parts, text[position:]])


def functions(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """Every node with the name of the function around it ("" outside of any)."""
    stack: list[tuple[str, ast.AST]] = [("", tree)]
    while stack:
        name, node = stack.pop()
        yield name, node
        inner = node.name if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else name
        stack += [(inner, child) for child in ast.iter_child_nodes(node)]


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The options every codemod has: the files, and what the last attempt's gates said."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument(
        "--feedback",
        default=os.environ.get("PATCHLINE_FEEDBACK", ""),
        help="output of the gates that refused the last attempt; default $PATCHLINE_FEEDBACK",
    )
    return parser


def rewrite_files(files: Iterable[Path], rewrite: Callable[[Source], str]) -> int:
    """Rewrite every Python file in place and say which ones changed.

    Returns:
        The exit code: 0 also when nothing had to change; 1 when a file is not Python.
    """
    for path in files:
        if path.suffix != ".py":
            continue
        # newline="" on both sides: the ends of lines are not ours to change.
        with path.open(encoding="utf-8", newline="") as stream:
            before = stream.read()
        try:
            after = rewrite(Source(before, str(path)))
        except SyntaxError as error:
            print(f"{path}:{error.lineno}: not Python: {error.msg}", file=sys.stderr)
            return 1
        if after != before:
            with path.open("w", encoding="utf-8", newline="") as stream:
                stream.write(after)
            print(f"rewrote {path}")
    return 0
