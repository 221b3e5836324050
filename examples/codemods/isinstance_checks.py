"""Turn `type(x) == T` into `isinstance(x, T)`.

The two differ for subclasses: `isinstance(True, int)` holds, `type(True) == int` does not. Which
one a function means cannot be read off its text, but its tests know. So the first attempt is eager,
and a function that the feedback names (the output of a failing gate) keeps its exact check, written
the modern way: `type(x) is T`.
"""

import ast
import re
import sys

from rewriting import Edit, Source, arguments, functions, replaced, rewrite_files


def type_check(node: ast.AST) -> tuple[ast.expr, ast.expr, bool] | None:
    """The value, the type and whether they are to be equal, if the node is such a check."""
    match node:
        case ast.Compare(
            left=ast.Call(func=ast.Name(id="type"), args=[value], keywords=[]),
            ops=[ast.Eq() | ast.NotEq() as operator],
            comparators=[ast.Name() | ast.Attribute() as wanted],
        ):
            return value, wanted, isinstance(operator, ast.Eq)
    return None


def rewrite(source: Source, feedback: str) -> str:
    """The source with its type checks modernised; exact where the feedback names the function."""
    edits: list[Edit] = []
    named = set(re.findall(r"\w+", feedback))
    for function, node in functions(source.tree):
        check = type_check(node)
        if check is None or not isinstance(node, ast.Compare):
            continue
        value, wanted, equal = source.code(check[0]), source.code(check[1]), check[2]
        if function in named:
            text = f"type({value}) {'is' if equal else 'is not'} {wanted}"
        else:
            text = f"{'' if equal else 'not '}isinstance({value}, {wanted})"
        edits.append(Edit(*source.span(node), text))
    return replaced(source.text, edits)


if __name__ == "__main__":
    options = arguments(__doc__).parse_args()
    sys.exit(rewrite_files(options.files, lambda source: rewrite(source, options.feedback)))
