"""What patchline needs of Dagster's private parts, checked one by one.

Dagster may change these in any release. When this file fails after an upgrade, compare the named
part with the new version (for the executor: `dagster._core.executor.in_process`), adapt its user
(`pipeline_defs/executor*.py` or `pipeline_defs/dagster_privates.py`), then the table here.
"""

import ast
import importlib
import inspect
from importlib.metadata import version
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[2]
ROOMS = ("state", "resources", "pipeline_defs", "sensors", "monitoring")
USERS = {
    "pipeline_defs/dagster_privates.py",
    "pipeline_defs/executor.py",
    "pipeline_defs/executor_run.py",
}
CORE = "dagster._core"
PLAN = f"{CORE}.execution.plan"

# (module, name, the parameters that the executor passes or the fields that it reads)
CALLS: list[tuple[str, str, list[str]]] = [
    (f"{CORE}.events", "EngineEventData", ["error"]),
    (f"{CORE}.events", "EngineEventData.in_process", ["pid", "step_keys_to_execute"]),
    (f"{CORE}.events", "EngineEventData.interrupted", ["steps_interrupted"]),
    (
        f"{CORE}.events",
        "DagsterEvent.engine_event",
        ["plan_context", "message", "event_specific_data"],
    ),
    (
        f"{CORE}.events",
        "DagsterEvent.capture_logs",
        ["job_context", "step_keys", "log_key", "log_context"],
    ),
    (
        f"{CORE}.execution.api",
        "ExecuteRunWithPlanIterable",
        ["execution_plan", "iterator", "execution_context_manager"],
    ),
    (f"{CORE}.execution.compute_logs", "create_compute_log_file_key", []),
    (
        f"{CORE}.execution.context_creation_job",
        "PlanExecutionContextManager",
        [
            "job",
            "execution_plan",
            "run_config",
            "dagster_run",
            "instance",
            "retry_mode",
            "raise_on_error",
            "output_capture",
            "step_dependency_config",
        ],
    ),
    (
        f"{CORE}.execution.context.system",
        "StepExecutionContext",
        [
            "plan_data",
            "execution_data",
            "log_manager",
            "step",
            "output_capture",
            "known_state",
            "event_loop",
        ],
    ),
    (
        f"{PLAN}.active",
        "ActiveExecution",
        [
            "execution_plan",
            "retry_mode",
            "instance_concurrency_context",
            "step_dependency_config",
        ],
    ),
    (f"{PLAN}.active", "ActiveExecution.check_for_interrupts", ["self"]),
    (f"{PLAN}.active", "ActiveExecution.mark_interrupted", ["self"]),
    (f"{PLAN}.active", "ActiveExecution.plan_events_iterator", ["self", "job_context"]),
    (f"{PLAN}.active", "ActiveExecution.get_steps_to_execute", ["self", "limit"]),
    (f"{PLAN}.active", "ActiveExecution.concurrency_event_iterator", ["self", "plan_context"]),
    (f"{PLAN}.active", "ActiveExecution.get_known_state", ["self"]),
    (f"{PLAN}.active", "ActiveExecution.handle_event", ["self", "dagster_event"]),
    (f"{PLAN}.active", "ActiveExecution.verify_complete", ["self", "job_context", "step_key"]),
    (f"{PLAN}.active", "ActiveExecution.sleep_interval", ["self"]),
    (f"{PLAN}.execute_plan", "dagster_event_sequence_for_step", ["step_context"]),
    (f"{PLAN}.execute_plan", "_trigger_hook", ["step_context", "step_event_list"]),
    (
        f"{PLAN}.instance_concurrency_context",
        "InstanceConcurrencyContext",
        ["instance", "dagster_run"],
    ),
    (
        f"{PLAN}.instance_concurrency_context",
        "InstanceConcurrencyContext.has_pending_claims",
        ["self"],
    ),
    (f"{PLAN}.plan", "ExecutionPlan.get_steps_to_execute_in_topo_order", ["self"]),
    (f"{PLAN}.state", "KnownExecutionState", ["ready_outputs"]),
    (f"{CORE}.execution.retries", "RetryMode.from_config", ["config_value"]),
    (f"{CORE}.execution.retries", "get_retries_config", []),
    (f"{CORE}.instance", "DagsterInstance.run_will_resume", ["self", "run_id"]),
    (f"{CORE}.instance", "DagsterInstance.report_run_canceling", ["self", "run", "message"]),
    ("dagster._utils.interrupts", "capture_interrupts", []),
    ("dagster._utils.error", "serializable_error_info_from_exc_info", ["exc_info"]),
    (f"{CORE}.definitions.definitions_load_context", "DefinitionsLoadContext.get", []),
    (
        f"{CORE}.definitions.definitions_load_context",
        "DefinitionsLoadContext.add_to_pending_reconstruction_metadata",
        ["self", "key", "metadata"],
    ),
    (f"{CORE}.definitions.reconstruct", "ReconstructableJob.get_definition", ["self"]),
    (f"{CORE}.definitions.reconstruct", "ReconstructableJob.get_python_origin", ["self"]),
    (
        f"{CORE}.execution.api",
        "execute_run",
        ["job", "dagster_run", "instance", "raise_on_error"],
    ),
    (
        f"{CORE}.instance",
        "DagsterInstance.create_run_for_job",
        ["self", "job_def", "run_config", "tags", "remote_job_origin", "job_code_origin"],
    ),
    (f"{CORE}.remote_origin", "RemoteRepositoryOrigin.get_job_origin", ["self", "job_name"]),
]
# (module, class, properties that the executor reads or overrides)
PROPERTIES: list[tuple[str, str, list[str]]] = [
    (
        f"{CORE}.execution.context.system",
        "PlanExecutionContext",
        ["plan_data", "output_capture", "event_loop", "retry_mode", "run_id", "instance"],
    ),
    (
        f"{CORE}.execution.context.system",
        "PlanOrchestrationContext",
        ["job", "retry_mode", "raise_on_error", "output_capture", "execution_plan"],
    ),
    (
        f"{CORE}.execution.context.system",
        "StepExecutionContext",
        ["retry_mode", "event_loop", "required_resource_keys", "resources"],
    ),
    (f"{PLAN}.active", "ActiveExecution", ["is_complete"]),
    (f"{PLAN}.step", "ExecutionStep", ["key", "logging_tags"]),
    (f"{CORE}.execution.retries", "RetryMode", ["DISABLED", "ENABLED"]),
    (
        f"{CORE}.definitions.definitions_load_context",
        "DefinitionsLoadContext",
        ["load_type", "reconstruction_metadata"],
    ),
    (
        f"{CORE}.definitions.definitions_load_context",
        "DefinitionsLoadType",
        ["INITIALIZATION", "RECONSTRUCTION"],
    ),
    (f"{CORE}.definitions.job_definition", "JobDefinition", ["run_tags"]),
    # Records: their constructors' signatures say nothing, their fields do.
    (f"{CORE}.remote_origin", "RegisteredCodeLocationOrigin", ["location_name"]),
    (
        f"{CORE}.remote_origin",
        "RemoteRepositoryOrigin",
        ["code_location_origin", "repository_name"],
    ),
]


def find(module: str, name: str) -> object:
    found: object = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


@pytest.mark.parametrize(
    ("module", "name", "parameters"), CALLS, ids=[f"{module}:{name}" for module, name, _ in CALLS]
)
def test_the_dagster_internals_that_patchline_uses_are_still_there(
    module: str, name: str, parameters: list[str]
) -> None:
    where = f"dagster {version('dagster')}: {module}.{name}, used in pipeline_defs,"
    try:
        found = find(module, name)
    except (ImportError, AttributeError) as error:
        pytest.fail(f"{where} is gone ({error})")
    assert callable(found), f"{where} is no longer callable"
    actual = inspect.signature(found).parameters
    gone = [parameter for parameter in parameters if parameter not in actual]
    assert not gone, f"{where} no longer takes {gone}; it takes {list(actual)}"
    new = [
        parameter.name
        for parameter in actual.values()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        and parameter.name not in parameters
    ]
    assert not new, f"{where} now also needs {new}"


@pytest.mark.parametrize(("module", "name", "properties"), PROPERTIES)
def test_the_properties_that_patchline_reads_are_still_there(
    module: str, name: str, properties: list[str]
) -> None:
    owner = find(module, name)
    gone = [attribute for attribute in properties if not hasattr(owner, attribute)]
    assert not gone, f"dagster {version('dagster')}: {module}.{name} no longer has {gone}"


def private_imports() -> dict[str, set[tuple[str, str]]]:
    """(module, name) of each import from inside Dagster, by the file that has it."""
    found: dict[str, set[tuple[str, str]]] = {}
    for path in sorted(path for room in ROOMS for path in (HOUSE / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dagster."):
                names = found.setdefault(path.relative_to(HOUSE).as_posix(), set())
                names.update((node.module or "", alias.name) for alias in node.names)
    return found


def test_every_internal_name_that_patchline_imports_is_in_the_table() -> None:
    listed = {(module, name.split(".")[0]) for module, name, _ in [*CALLS, *PROPERTIES]}
    imported = set[tuple[str, str]]().union(*private_imports().values())
    assert imported
    assert imported <= listed, f"not checked for upgrades: {sorted(imported - listed)}"


def test_no_other_file_leans_on_the_inside_of_dagster() -> None:
    assert set(private_imports()) == USERS
