"""The file of `rollback --plan`: what is done to take patches back, instead of the usual.

Read as plan files are, YAML or JSON, and every problem has its line, column and remedy.
"""

import json
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from pipeline_defs.plan.checking import findings_of, suggestion
from pipeline_defs.plan.document import Document, read_document
from pipeline_defs.plan.findings import Finding
from pipeline_defs.plan.loader import Analysis, read_plan_bytes
from resources.rollback.compensation import CompensationPlan
from state.errors import PlanError

EXAMPLE = "Begin with `actions:`, such as [{action: git_revert}, {action: run_gates}]."


def load_compensation_plan(path: Path, gates: Collection[str]) -> CompensationPlan:
    """Read and check a compensation plan.

    Args:
        path: the file; JSON when its name ends in `.json`, else YAML.
        gates: the gates that `run_gates` may name: those of the run's plan.

    Raises:
        PlanError: it cannot be read, or is not a good one; carries every problem.
    """
    document = read_document(read_plan_bytes(path), as_json=path.name.lower().endswith(".json"))
    plan, findings = _checked(document)
    if plan is not None:
        findings += _unknown_gates(plan, gates)
    if findings or plan is None:
        placed = Analysis(str(path), None, document, ())
        problems = [placed.problem(finding) for finding in findings]
        raise PlanError(sorted(problems, key=lambda one: (one.line or 0, one.column or 0)))
    return plan


def _checked(document: Document) -> tuple[CompensationPlan | None, list[Finding]]:
    if document.findings:
        return None, [_fitting(finding) for finding in document.findings]
    if not isinstance(document.data, dict):
        message = "A compensation plan is a mapping of keys to values."
        return None, [Finding((), message, EXAMPLE)]
    try:
        data = json.dumps(document.data)
        return CompensationPlan.model_validate_json(data, strict=True), []
    except ValidationError as error:
        return None, [_fitting(finding) for finding in findings_of(error, CompensationPlan)]


def _fitting(finding: Finding) -> Finding:
    """A finding about the whole file, or about `actions`, with a remedy for this kind of file."""
    whole = finding.loc == () and finding.hint is not None and "my-plan" in finding.hint
    if whole or (finding.loc == ("actions",) and finding.hint is None):
        return replace(finding, hint=EXAMPLE)
    return finding


def _unknown_gates(plan: CompensationPlan, gates: Collection[str]) -> list[Finding]:
    return [
        Finding(
            ("actions", n, "gates", m),
            f"There is no gate `{name}` in the plan of the run.",
            suggestion(name, sorted(gates), "gates there"),
        )
        for n, action in enumerate(plan.actions)
        for m, name in enumerate(action.gates)
        if name not in gates
    ]
