"""The whole corpus."""

from functools import cache

from tests.hostile.cases import Case
from tests.hostile.corpus import benign, contents, kinds, lies, names, places, texts

FAMILIES = (places, names, kinds, contents, texts, lies, benign)


@cache
def corpus() -> dict[str, Case]:
    """Every case by its name."""
    found = [case for family in FAMILIES for case in family.cases()]
    by_name = {case.name: case for case in found}
    assert len(by_name) == len(found), "two cases have the same name"
    return by_name
