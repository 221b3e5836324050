"""Lists of names in JSON columns, compared inside the database."""

from typing import Any

from sqlalchemy import Boolean
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction


class covers(GenericFunction[bool]):
    """Whether the first list holds every name of the second."""

    type = Boolean()
    inherit_cache = True


def _two(element: covers, compiler: SQLCompiler, **how: Any) -> tuple[str, str]:
    have, need = element.clauses
    return compiler.process(have, **how), compiler.process(need, **how)


@compiles(covers, "sqlite")
def _on_sqlite(element: covers, compiler: SQLCompiler, **how: Any) -> str:
    have, need = _two(element, compiler, **how)
    # A task that needs nothing is the rule, and needs no look into its list.
    return (
        f"({need} = '[]' OR NOT EXISTS (SELECT 1 FROM json_each({need}) AS n"
        f" WHERE n.value NOT IN (SELECT value FROM json_each({have}))))"
    )


@compiles(covers, "postgresql")
def _on_postgresql(element: covers, compiler: SQLCompiler, **how: Any) -> str:
    have, need = _two(element, compiler, **how)
    return f"({have}::jsonb @> {need}::jsonb)"
