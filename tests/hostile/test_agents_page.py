"""The plan in docs/agents.md allows what the page says that it allows, and nothing else."""

import re
from pathlib import Path

import pytest

from pipeline_defs.plan.loader import load_plan
from resources.patch_policy import Scope
from resources.patches.check import check_patch
from tests.hostile.scenery import Scenery
from tests.hostile.writing import edit

PAGE = Path(__file__).parents[2] / "docs/agents.md"
SETTINGS = edit("pyproject.toml", "'tests'", "'tests/unit'")
FIXTURES = edit("tests/conftest.py", "import pytest", "import pytest as pt")
MAKEFILE = edit("Makefile", "pytest -q", "true")


@pytest.mark.parametrize(
    ("task", "patch", "codes"),
    [
        ("settings", SETTINGS, []),
        ("settings", FIXTURES, []),
        ("settings", MAKEFILE, ["out_of_scope", "protected"]),
        ("modules", FIXTURES, []),
        ("modules", SETTINGS, ["out_of_scope"]),
    ],
)
def test_the_plan_of_the_page_allows_what_it_says(
    scenery: Scenery, tmp_path: Path, task: str, patch: bytes, codes: list[str]
) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    file = tmp_path / "plan.yaml"
    file.write_text(text)
    plan = load_plan(file).plan
    (stream,) = plan.workstreams
    (found,) = [one for one in stream.tasks if one.id == task]
    scope = Scope(tuple(found.files_scope or ()), tuple(found.files_create or ()))
    checked = check_patch(scenery.repository, scenery.base, patch, scope, plan.policy)
    assert [reason.code for reason in checked.reasons] == codes
