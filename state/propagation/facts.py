"""What the rules look at and what they propose. Plain data, no database."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from state.machines import MACHINES

CANCEL_KEY = "cancel"
"""Metadata of a run or workstream that somebody asked to cancel: `{reason, operator}`.

It is kept until the end, so that a cascade cut short by a crash goes on as it was meant.
"""


@dataclass(frozen=True, slots=True)
class Policy:
    """What a failure means for the others: the plan's `policy`, as far as it matters here."""

    allow_noncritical_failures: bool = False
    skipped_satisfies: bool = False
    stop_on_critical_failure: bool = False
    strict: bool = False
    """Whether the store refuses the machines' extensions: what can then not end is left alone."""


@dataclass(frozen=True, slots=True)
class Cancellation:
    """That somebody wants an entity to end; `operator` is who, None for the program itself."""

    reason: str
    operator: str | None = None

    @classmethod
    def of(cls, metadata: Mapping[str, Any] | None) -> "Cancellation | None":
        """From a row's metadata; None when nobody asked."""
        asked = (metadata or {}).get(CANCEL_KEY)
        return cls(asked["reason"], asked.get("operator")) if asked else None

    def as_metadata(self) -> dict[str, Any]:
        """As it is kept in a row's metadata."""
        return {CANCEL_KEY: {"reason": self.reason, "operator": self.operator}}


@dataclass(frozen=True, slots=True)
class Proposal:
    """A transition that the facts call for; `names` lists whom the reason is about."""

    state: str
    trigger: str
    reason: str | None = None
    names: tuple[str, ...] = ()

    @property
    def columns(self) -> dict[str, Any]:
        """What is written beside the state."""
        return {"blocked_by": list(self.names)} if self.state == "blocked" else {}


@dataclass(frozen=True, slots=True)
class TaskFacts:
    """What counts of a task."""

    task_id: str
    state: str
    is_critical: bool = True
    retry_of: str | None = None
    slug: str | None = None
    workstream_id: str = ""
    depends_on: tuple[str, ...] = ()
    version: int = 1
    created_at: str = ""

    @classmethod
    def of(cls, row: Any, depends_on: Iterable[str] = ()) -> "TaskFacts":
        """From a row of `tasks` and what it depends on (task_ids)."""
        return cls(
            task_id=row.task_id,
            state=row.state,
            is_critical=row.is_critical,
            retry_of=row.retry_of,
            slug=row.slug,
            workstream_id=row.workstream_id,
            depends_on=tuple(depends_on),
            version=row.version,
            created_at=row.created_at,
        )

    @property
    def key(self) -> str:
        """Its id."""
        return self.task_id

    @property
    def name(self) -> str:
        """What people call it."""
        return self.slug or self.task_id

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in MACHINES["task"].terminal


@dataclass(frozen=True, slots=True)
class LedgerFacts:
    """What counts of a patch's ledger entry; given in the order of making."""

    ledger_id: str
    state: str
    task_id: str | None = None
    replaces: str | None = None

    @classmethod
    def of(cls, row: Any) -> "LedgerFacts":
        """From a row of `patch_ledger_entries`."""
        return cls(row.ledger_id, row.state, row.task_id, row.replaces)


@dataclass(frozen=True, slots=True)
class WorkstreamFacts:
    """What counts of a workstream."""

    ws_id: str
    state: str
    is_critical: bool = True
    enabled: bool = True
    slug: str | None = None
    depends_on: tuple[str, ...] = ()
    cancel: Cancellation | None = None
    version: int = 1

    @classmethod
    def of(cls, row: Any, depends_on: Iterable[str] = ()) -> "WorkstreamFacts":
        """From a row of `workstreams` and what it depends on (ws_ids)."""
        return cls(
            ws_id=row.ws_id,
            state=row.state,
            is_critical=row.is_critical,
            enabled=row.enabled,
            slug=row.slug,
            depends_on=tuple(depends_on),
            cancel=Cancellation.of(row.metadata),
            version=row.version,
        )

    @property
    def name(self) -> str:
        """What people call it."""
        return self.slug or self.ws_id

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in MACHINES["workstream"].terminal


@dataclass(frozen=True, slots=True)
class RunFacts:
    """A run with everything under it, at one moment, in plan order.

    `ledger` holds the entries of each workstream by `ws_id`, in the order of making.
    """

    run_id: str
    state: str
    workstreams: Sequence[WorkstreamFacts] = ()
    tasks: Sequence[TaskFacts] = ()
    ledger: Mapping[str, Sequence[LedgerFacts]] = field(
        default_factory=dict[str, Sequence[LedgerFacts]]
    )
    cancel: Cancellation | None = None
    version: int = 1


@dataclass(frozen=True, slots=True)
class Step:
    """What becomes of one entity in a cascade: one transaction, of one or two transitions.

    `version` is the one that the entity had when this was decided.
    """

    entity_type: str
    entity_id: str
    version: int
    path: tuple[Proposal, ...]
    operator: str | None = None
    asked_by: str | None = None
    """Who asked for what this follows from, where that was the end of something above it."""

    @property
    def target(self) -> str:
        """The state that the entity has afterwards."""
        return self.path[-1].state

    @property
    def ends(self) -> bool:
        """Whether nothing more will happen to the entity afterwards."""
        return self.target in MACHINES[self.entity_type].terminal

    @property
    def needs_archive(self) -> bool:
        """Whether a record must be kept before the state changes (decisions W8)."""
        return (self.entity_type, self.target) == ("workstream", "failed")
