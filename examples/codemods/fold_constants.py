"""Remove the branches that can never be taken once a name is known to be true or false.

`--constant PY2=False` turns `if PY2: a` / `else: b` into `b`. Only a test that is the bare name, or
`not` the name, counts; an `if` that it cannot decide stays as it is, with all that hangs on it.
"""

import ast
import sys

from rewriting import Edit, Source, arguments, replaced, rewrite_files


def value_of(test: ast.expr, constants: dict[str, bool]) -> bool | None:
    """Whether the test holds, if the constants decide it."""
    match test:
        case ast.Name(id=name):
            return constants.get(name)
        case ast.UnaryOp(op=ast.Not(), operand=ast.Name(id=name)) if name in constants:
            return not constants[name]
    return None


def chosen_branch(node: ast.If, constants: dict[str, bool]) -> list[ast.stmt] | None:
    """The statements that the whole if/elif/else chain comes down to; None if undecided."""
    value = value_of(node.test, constants)
    if value is None:
        return None
    if value:
        return node.body
    if len(node.orelse) == 1 and isinstance(node.orelse[0], ast.If):
        return chosen_branch(node.orelse[0], constants)
    return node.orelse


def first_line(statement: ast.stmt) -> int:
    """The line the statement begins on, its decorators included."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return min([statement.lineno, *(d.lineno for d in statement.decorator_list)])
    return statement.lineno


def spans_lines(statements: list[ast.stmt]) -> bool:
    """Whether a string goes over several lines: moving it to the left would change its value."""
    return any(
        isinstance(node, ast.Constant | ast.JoinedStr) and node.end_lineno != node.lineno
        for statement in statements
        for node in ast.walk(statement)
    )


def dedented(source: Source, statements: list[ast.stmt], column: int) -> str:
    """The statements' lines, moved left so that they begin at the column."""
    first, last = first_line(statements[0]), statements[-1].end_lineno or 0
    surplus = statements[0].col_offset - column
    lines = source.lines[first - 1 : last]
    return "".join(line[surplus:] if line.strip() else line for line in lines)


def next_edit(source: Source, constants: dict[str, bool]) -> Edit | None:
    """The first statement that can be folded."""
    for parent in ast.walk(source.tree):
        for field in ("body", "orelse", "finalbody"):
            block = getattr(parent, field, None)
            for node in block if isinstance(block, list) else []:
                is_elif = isinstance(node, ast.If) and source.code(node).startswith("elif")
                if not isinstance(node, ast.If) or is_elif:
                    continue
                chosen = chosen_branch(node, constants)
                if chosen is None or spans_lines(chosen):
                    continue
                start = source.line_start(node.lineno)
                end = source.line_start((node.end_lineno or node.lineno) + 1)
                if chosen:
                    return Edit(start, end, dedented(source, chosen, node.col_offset))
                alone = len(block or []) == 1
                return Edit(start, end, " " * node.col_offset + "pass\n" if alone else "")
    return None


def rewrite(source: Source, constants: dict[str, bool]) -> str:
    """The source without its dead branches."""
    while (edit := next_edit(source, constants)) is not None:
        source = Source(replaced(source.text, [edit]), source.name)
    return source.text


def main() -> int:
    """Run on the files given."""
    parser = arguments(__doc__)
    parser.add_argument("--constant", action="append", default=[], metavar="NAME=True|False")
    options = parser.parse_args()
    words = {"True": True, "False": False}
    constants: dict[str, bool] = {}
    for setting in options.constant:
        name, _, word = setting.partition("=")
        if word not in words:
            parser.error(f"--constant {setting}: say NAME=True or NAME=False")
        constants[name] = words[word]
    return rewrite_files(options.files, lambda source: rewrite(source, constants))


if __name__ == "__main__":
    sys.exit(main())
