"""Plan ids as Dagster names, reversibly.

Plan ids are `[a-z0-9][a-z0-9-]*`, Dagster's names `[A-Za-z0-9_]+` without Python's keywords and
some words of its own. A dash becomes `_`; a dash that follows a dash or ends the id becomes `D`
(ids have no capitals), so that `__` is free to join two ids; a reserved word gets a leading `_`.
Names of our own ops begin with `_` and a word that is not reserved. Source: design section 3.
"""

import keyword

RESERVED = frozenset(
    {
        *("context", "conf", "config", "meta", "arg_dict", "dict", "input_arg_dict"),
        *("output_arg_dict", "int", "str", "float", "bool", "input", "output", "type"),
        *keyword.kwlist,
    }
)

START, FINISH = "_start", "_finish"
OPEN, LAND = "_open", "_land"


def to_dagster(slug: str) -> str:
    """The Dagster name of a plan id."""
    letters: list[str] = []
    for position, letter in enumerate(slug):
        if letter != "-":
            letters.append(letter)
        elif position == len(slug) - 1 or letters[-1] in "_D":
            letters.append("D")
        else:
            letters.append("_")
    name = "".join(letters)
    return f"_{name}" if name in RESERVED else name


def from_dagster(name: str) -> str:
    """The plan id of a Dagster name made by `to_dagster`."""
    return name.removeprefix("_").replace("_", "-").replace("D", "-")


def workstream_job(plan: str, workstream: str) -> str:
    """Name of the job that runs one workstream alone."""
    return f"{to_dagster(plan)}__{to_dagster(workstream)}"
