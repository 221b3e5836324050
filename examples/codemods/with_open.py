"""Turn `f = open(...)` ... `f.close()` into `with open(...) as f:`.

Only where both stand in the same block with something between them: there the meaning is the same,
but for the better, since the file is now closed after an exception too. A multi-line string between
the two is left alone with its block: indenting it would change its value.
"""

import ast
import sys
from collections.abc import Iterator

from rewriting import Edit, Source, arguments, replaced, rewrite_files

INDENT = "    "


def blocks(tree: ast.Module) -> Iterator[list[ast.stmt]]:
    """Every list of statements in the tree."""
    for node in ast.walk(tree):
        for field in ("body", "orelse", "finalbody"):
            block = getattr(node, field, None)
            if isinstance(block, list):
                yield block


def opened_name(statement: ast.stmt) -> str | None:
    """`f` of `f = open(...)`."""
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=ast.Name(id="open"))):
            return name
    return None


def closed_name(statement: ast.stmt) -> str | None:
    """`f` of `f.close()`."""
    match statement:
        case ast.Expr(
            value=ast.Call(
                func=ast.Attribute(value=ast.Name(id=name), attr="close"), args=[], keywords=[]
            )
        ):
            return name
    return None


def movable(statements: list[ast.stmt], name: str) -> bool:
    """Whether the statements may be indented, and use the file that was opened."""
    for statement in statements:
        for node in ast.walk(statement):
            if isinstance(node, ast.Constant | ast.JoinedStr) and node.end_lineno != node.lineno:
                return False
            if isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store):
                return False
    return True


def first_pair(source: Source) -> tuple[ast.Assign, ast.stmt] | None:
    """The first opening with its closing that can become a `with`."""
    for block in blocks(source.tree):
        for index, statement in enumerate(block):
            name = opened_name(statement)
            if name is None or not isinstance(statement, ast.Assign):
                continue
            for later in range(index + 2, len(block)):
                if closed_name(block[later]) == name and movable(block[index + 1 : later], name):
                    return statement, block[later]
    return None


def rewrite(source: Source) -> str:
    """The source with every such pair turned into a `with` block."""
    while (pair := first_pair(source)) is not None:
        opening, closing = pair
        name = opened_name(opening)
        edits = [Edit(*source.span(opening), f"with {source.code(opening.value)} as {name}:")]
        for line in range((opening.end_lineno or opening.lineno) + 1, closing.lineno):
            if source.lines[line - 1].strip():
                start = source.line_start(line)
                edits.append(Edit(start, start, INDENT))
        end = (closing.end_lineno or closing.lineno) + 1
        edits.append(Edit(source.line_start(closing.lineno), source.line_start(end), ""))
        source = Source(replaced(source.text, edits), source.name)
    return source.text


if __name__ == "__main__":
    options = arguments(__doc__).parse_args()
    sys.exit(rewrite_files(options.files, rewrite))
