"""Remove functions that nothing in `src` uses, together with their tests.

An overeager tool, kept as an example of one: asked to clean up a package, it also edits the tests,
so that the suite stays green. patchline judges what a patch does, not what it says: the tests are
outside of the task's scope, so its patch is quarantined and never lands.
"""

import ast
import sys
from pathlib import Path

from rewriting import Edit, Source, arguments, replaced, rewrite_files


def used_names(folder: Path) -> set[str]:
    """Every name that some code in the folder refers to."""
    names: set[str] = set()
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), filename=str(path))):
            names |= mentioned(node)
    return names


def mentioned(node: ast.AST) -> set[str]:
    """The name that this one node refers to, if any."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name):
            return {name}
    return set()


def without_functions(source: Source, doomed: set[ast.FunctionDef]) -> list[Edit]:
    """Edits that remove top-level functions and the empty lines before them."""
    edits: list[Edit] = []
    for node in doomed:
        first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
        while first > 1 and not source.lines[first - 2].strip():
            first -= 1
        last = (node.end_lineno or node.lineno) + 1
        edits.append(Edit(source.line_start(first), source.line_start(last), ""))
    return edits


def without_unused(source: Source, used: set[str], dropped: set[str]) -> str:
    """The source without its unused functions; their names are added to `dropped`."""
    found = {f for f in source.tree.body if isinstance(f, ast.FunctionDef) and f.name not in used}
    dropped |= {f.name for f in found}
    return replaced(source.text, without_functions(source, found))


def without_tests_of(source: Source, dropped: set[str]) -> str:
    """The test module without the tests and the imports of what was dropped."""
    doomed: set[ast.FunctionDef] = set()
    edits: list[Edit] = []
    for node in source.tree.body:
        if isinstance(node, ast.FunctionDef):
            if any(mentioned(inner) & dropped for inner in ast.walk(node)):
                doomed.add(node)
        elif isinstance(node, ast.ImportFrom):
            kept = [alias for alias in node.names if alias.name not in dropped]
            if kept and len(kept) < len(node.names):
                line = ast.unparse(ast.ImportFrom(node.module, kept, node.level))
                edits.append(Edit(*source.span(node), line))
    return replaced(source.text, [*edits, *without_functions(source, doomed)])


def main() -> int:
    """Run on the files given, then on every test module."""
    options = arguments(__doc__).parse_args()
    used, dropped = used_names(Path("src")), set[str]()
    code = rewrite_files(options.files, lambda source: without_unused(source, used, dropped))
    if code or not dropped:
        return code
    tests = sorted(Path("tests").rglob("test_*.py"))
    return rewrite_files(tests, lambda source: without_tests_of(source, dropped))


if __name__ == "__main__":
    sys.exit(main())
