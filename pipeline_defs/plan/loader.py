"""From a plan file to a `Plan`, or to every reason why it is none, each with its place."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from pipeline_defs.plan.checking import check_model
from pipeline_defs.plan.document import Document, read_document
from pipeline_defs.plan.findings import Finding, path_of
from pipeline_defs.plan.graph import check_graph
from pipeline_defs.plan.model import Plan
from pipeline_defs.plan.tools import check_tools
from state.errors import PlanError, PlanProblem


@dataclass(frozen=True)
class LoadedPlan:
    """A plan and the bytes it came from.

    Attributes:
        plan: the plan.
        path: the file, absolute.
        data: the file's bytes, exactly.
        sha256: hex digest of `data`.
    """

    plan: Plan
    path: Path
    data: bytes
    sha256: str


@dataclass(frozen=True)
class Analysis:
    """Everything that could be found out about a plan file.

    Attributes:
        plan: the plan; when there are problems, what could be made of the rest, or None.
        document: the file with its positions.
        problems: everything that is wrong, in file order.
    """

    file: str
    plan: Plan | None
    document: Document
    problems: tuple[PlanProblem, ...]

    def problem(self, finding: Finding) -> PlanProblem:
        """Give a finding its place in the file."""
        place = finding.position or self.document.position(finding.loc, at_key=finding.at_key)
        return PlanProblem(
            message=finding.message,
            file=self.file,
            line=place.line,
            column=place.column,
            path=path_of(finding.loc),
            hint=finding.hint,
        )


def load_plan(path: Path | str) -> LoadedPlan:
    """Read and check a plan file.

    Raises:
        PlanError: the file cannot be read, or is not a good plan; carries every problem.
    """
    path = Path(path)
    data = read_plan_bytes(path)
    plan = parse_plan(data, str(path))
    return LoadedPlan(plan, path.absolute(), data, sha256(data).hexdigest())


def parse_plan(data: bytes, file: str) -> Plan:
    """Check a plan's bytes.

    Args:
        data: the content; JSON when `file` ends in `.json`, else YAML.
        file: the name that problems carry.

    Raises:
        PlanError: it is not a good plan; carries every problem.
    """
    found = analyse(data, file)
    if found.problems or found.plan is None:
        raise PlanError(found.problems)
    return found.plan


def analyse(data: bytes, file: str) -> Analysis:
    """Find out everything about a plan's bytes; never raises for a bad plan."""
    document = read_document(data, as_json=file.lower().endswith(".json"))
    plan, findings = None, list(document.findings)
    if document.data is not None or not findings:
        plan, model_findings, names_wrong = check_model(document.data)
        findings += model_findings
        if plan is not None:
            findings += [
                *check_graph(plan, names_known=not names_wrong),
                *check_tools(plan, model_findings),
            ]
    bare = Analysis(file, plan, document, ())
    problems = [bare.problem(finding) for finding in findings]
    problems.sort(key=lambda one: (one.line or 0, one.column or 0))
    return Analysis(file, plan, document, tuple(problems))


def read_plan_bytes(path: Path) -> bytes:
    """Read a plan file's bytes.

    Raises:
        PlanError: there is no such file, or it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        hint = {
            FileNotFoundError: "Check the path; it is taken from the current folder.",
            IsADirectoryError: "Name a file in it.",
            PermissionError: "Make it readable.",
        }.get(type(error))
        reason = (error.strerror or str(error)).lower()
        problem = PlanProblem(
            message=f"The plan cannot be read: {reason}.",
            file=str(path),
            line=1,
            column=1,
            path="",
            hint=hint,
        )
        raise PlanError([problem]) from error
