"""Replace names that a compatibility module defines by what they stand for.

`--module pkg.compat --alias text_type=str` removes `from pkg.compat import text_type` and turns
every use of the name into `str`; `--decorator unicode_compatible` removes a decorator that does
nothing any more. A file that binds such a name itself is refused, not guessed at.
"""

import ast
import sys

from rewriting import Edit, Source, arguments, replaced, rewrite_files


class NameIsBoundError(Exception):
    """The file gives one of the names a meaning of its own."""


def imports(source: Source, module: str, names: set[str]) -> list[ast.ImportFrom]:
    """The statements that import any of the names from the module."""
    return [
        node
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ImportFrom)
        and node.module == module
        and any(alias.name in names and alias.asname is None for alias in node.names)
    ]


def import_edit(source: Source, node: ast.ImportFrom, names: set[str]) -> Edit:
    """The import without the names; the whole line goes when nothing else was imported."""
    kept = [alias for alias in node.names if alias.name not in names or alias.asname]
    if kept:
        text = ast.unparse(ast.ImportFrom(node.module, kept, node.level))
        return Edit(*source.span(node), text)
    end = (node.end_lineno or node.lineno) + 1
    return Edit(source.line_start(node.lineno), source.line_start(end), "")


def decorator_edits(source: Source, names: set[str]) -> list[Edit]:
    """Edits that remove the lines of the decorators with these names."""
    edits: list[Edit] = []
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.ClassDef | ast.FunctionDef):
            continue
        for decorator in node.decorator_list:
            if isinstance(decorator, ast.Name) and decorator.id in names:
                line = decorator.lineno
                edits.append(Edit(source.line_start(line), source.line_start(line + 1), ""))
    return edits


def rewrite(source: Source, module: str, aliases: dict[str, str], decorators: set[str]) -> str:
    """The source with the aliases inlined and the decorators gone.

    Raises:
        NameIsBoundError: the file assigns one of the aliases, or has a parameter of that name.
    """
    names = set(aliases) | decorators
    statements = imports(source, module, names)
    if not statements:
        return source.text
    edits = [import_edit(source, node, names) for node in statements]
    edits += decorator_edits(source, decorators)
    for node in ast.walk(source.tree):
        if isinstance(node, ast.arg) and node.arg in aliases:
            raise NameIsBoundError(f"{source.name}:{node.lineno}: {node.arg} is a parameter here")
        if not isinstance(node, ast.Name) or node.id not in aliases:
            continue
        if not isinstance(node.ctx, ast.Load):
            raise NameIsBoundError(f"{source.name}:{node.lineno}: {node.id} is assigned here")
        edits.append(Edit(*source.span(node), aliases[node.id]))
    return replaced(source.text, edits)


def main() -> int:
    """Run on the files given; exit code 1 names a file that was refused."""
    parser = arguments(__doc__)
    parser.add_argument("--module", required=True)
    parser.add_argument("--alias", action="append", default=[], metavar="NAME=EXPRESSION")
    parser.add_argument("--decorator", action="append", default=[], metavar="NAME")
    options = parser.parse_args()
    aliases = dict(alias.split("=", 1) for alias in options.alias)
    decorators = set(options.decorator)
    try:
        return rewrite_files(
            options.files, lambda source: rewrite(source, options.module, aliases, decorators)
        )
    except NameIsBoundError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
