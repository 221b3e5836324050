"""The example plans hold what their comments promise, without running them in whole."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pathspec
import pytest
import yaml

from pipeline_defs.plan.report import validate_file

EXAMPLES = Path(__file__).parents[2] / "examples"
SAMPLE = EXAMPLES / "sample"
PLANS = [EXAMPLES / "plans" / "modernise.yaml", EXAMPLES / "real" / "plan.yaml"]


def tasks(plan: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for workstream in plan["workstreams"]:
        for task in workstream["tasks"]:
            yield workstream, task


def read(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def command(name: str, *arguments: str, folder: Path, **env: str) -> tuple[int, str]:
    """Run a command of this environment in the folder; its exit code and output."""
    beside = Path(sys.executable).with_name(name)
    result = subprocess.run(
        [str(beside), *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **env},
        capture_output=True,
        text=True,
    )
    return result.returncode, result.stdout + result.stderr


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    """A copy of the sample project that a test may change."""
    ignored = shutil.ignore_patterns("__pycache__", ".*_cache")
    return Path(shutil.copytree(SAMPLE, tmp_path / "sample", ignore=ignored))


def run_gate(plan: dict[str, Any], gate: str, folder: Path) -> tuple[int, str]:
    spec = plan["gates"][gate]
    return command(*spec["command"], folder=folder, **spec.get("env", {}))


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_a_plan_has_parallel_branches_and_a_workstream_that_joins_them(path: Path) -> None:
    plan = read(path)
    needs = {w["id"]: w.get("depends_on", []) for w in plan["workstreams"]}
    assert len(needs) >= 3
    assert len(list(tasks(plan))) >= 10
    assert sum(1 for needed in needs.values() if not needed) >= 2
    assert any(len(needed) >= 2 for needed in needs.values())


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_every_patch_of_an_example_is_tested(path: Path) -> None:
    plan = read(path)
    for workstream, task in tasks(plan):
        gates = task.get("gates", workstream["gates"])
        assert "unit" in gates, task["id"]
        assert set(gates) <= set(plan["gates"])
        assert task["tool"] in plan["tools"]


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_tasks_of_a_workstream_follow_one_another_so_that_every_run_gives_the_same_trees(
    path: Path,
) -> None:
    for workstream in read(path)["workstreams"]:
        before: list[str] = []
        for task in workstream["tasks"]:
            assert task.get("depends_on", []) == before, f"{workstream['id']}/{task['id']}"
            before = [task["id"]]


def test_every_scope_of_the_modernise_plan_names_files_of_the_sample() -> None:
    files = [p.relative_to(SAMPLE).as_posix() for p in SAMPLE.rglob("*.py")]
    for workstream in read(PLANS[0])["workstreams"]:
        for pattern in workstream["files_scope"]:
            scope = pathspec.PathSpec.from_lines("gitignore", [pattern])
            assert any(scope.match_files(files)), pattern


@pytest.mark.parametrize("gate", ["lint", "unit"])
def test_the_sample_passes_its_gates_as_it_is(gate: str, sample: Path) -> None:
    code, output = run_gate(read(PLANS[0]), gate, sample)
    assert code == 0, output


@pytest.mark.parametrize("gate", ["modern", "formatted"])
def test_the_sample_is_not_modern_yet(gate: str, sample: Path) -> None:
    assert run_gate(read(PLANS[0]), gate, sample)[0] == 1


def test_the_type_check_codemod_fails_its_gate_and_then_learns_from_the_feedback(
    sample: Path,
) -> None:
    plan = read(PLANS[0])
    codemod = str(EXAMPLES / "codemods" / "isinstance_checks.py")
    files = [str(path) for path in sorted((sample / "src/stockroom/core").glob("*.py"))]
    originals = {path: Path(path).read_text(encoding="utf-8") for path in files}

    assert command("python", codemod, *files, folder=sample, PATCHLINE_FEEDBACK="")[0] == 0
    code, feedback = run_gate(plan, "unit", sample)
    assert code == 1
    assert "test_a_flag_is_not_a_quantity" in feedback

    for path, text in originals.items():
        Path(path).write_text(text, encoding="utf-8")
    assert command("python", codemod, *files, folder=sample, PATCHLINE_FEEDBACK=feedback)[0] == 0
    code, output = run_gate(plan, "unit", sample)
    assert code == 0, output
    after = (sample / "src/stockroom/core/validation.py").read_text(encoding="utf-8")
    assert "type(value) is int" in after
    assert "isinstance(value, str)" in after


def test_the_clean_up_codemod_leaves_its_scope(sample: Path) -> None:
    codemod = str(EXAMPLES / "codemods" / "drop_unused.py")
    before = {path: path.read_bytes() for path in sample.rglob("*.py")}
    files = [str(path) for path in sorted((sample / "src/stockroom/core").glob("*.py"))]
    assert command("python", codemod, *files, folder=sample)[0] == 0
    changed = {
        path.relative_to(sample).as_posix() for path in before if path.read_bytes() != before[path]
    }
    assert "tests/test_units.py" in changed
    assert run_gate(read(PLANS[0]), "unit", sample)[0] == 0, "only the scope stops this patch"


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_validation_has_nothing_to_say_about_an_example(path: Path) -> None:
    report = validate_file(path)
    assert report["errors"] == []
    assert report["warnings"] == []
    assert report["scope_conflicts"] == []
