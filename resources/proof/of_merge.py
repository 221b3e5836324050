"""The proof of a merge commit of ours: a workstream's with the target, or of what it starts from.

It carries no patch of its own: what it brings was proved commit by commit. What there is to prove
is that it is the three-way merge of its parents and nothing else, and that the workstream's gates
judged just that.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from resources.git.commit_text import AUDIT, GATES, RUN, WORKSTREAM, message_with_trailers
from resources.git.merging import Conflict, merge
from resources.proof.entity_history import history_of
from resources.proof.parts import (
    Part,
    Proof,
    Work,
    audit_part,
    gate_problems,
    part,
    plan_problems,
    spec_or_problem,
)


def merge_parts(work: Work) -> Sequence[Part]:
    """Every part of the proof of a commit whose trailers name a run and no patch."""
    run_id = work.text.trailers[RUN]
    found = work.store.find("run", run_id=run_id)
    if not found:
        return (Part("trailers", False, f"this store has no run {run_id}"),)
    one = _MergeProof(work, found[0])
    if one.stream is None:
        message = f"no workstream of the run {run_id} starts from this commit or landed with it"
        return (Part("trailers", False, message),)
    slug, start = one.stream.slug, one.is_start
    what = f"workstream {slug} {'starts from' if start else 'landed with'} this commit"
    parts = [
        part("trailers", one.trailers, f"run {run_id}: {what}"),
        part("tree", one.tree, "it is the three-way merge of its parents"),
    ]
    if not start:
        names = ", ".join(str(row.name) for row in one.rows)
        parts.append(part("gates", one.gates, f"{names} passed on exactly this tree"))
    if AUDIT in work.text.trailers:
        history = history_of(work.store, "workstream", one.stream)
        parts.append(audit_part(work, history, f"workstream {slug}"))
    parts.append(part("commit", one.commit, "written again from the state, it is the same object"))
    return parts


@dataclass(frozen=True)
class _MergeProof(Proof):
    """What a run's row tells of the commit."""

    run: Any

    @cached_property
    def stream(self) -> Any:
        """The workstream that starts from the commit or landed with it; None when none does."""
        rows = self.work.store.find("workstream", run_id=self.run.run_id)
        name = self.text.name
        return next((one for one in rows if name in (one.merge_commit, one.base_commit)), None)

    @property
    def is_start(self) -> bool:
        return self.stream.merge_commit != self.text.name

    @cached_property
    def rows(self) -> list[Any]:
        """The gate executions that judged the merge: of several on one tree, the last ones."""
        wanted = {"workstream_id": self.stream.ws_id, "role": "workstream"}
        rows = self.work.store.find("test_gate", **wanted, tree=self.text.tree)
        named = self.text.names(GATES)
        if named:
            return [row for row in rows if row.gate_id in named]
        return sorted({row.name: row for row in rows}.values(), key=lambda row: row.position)

    def trailers(self) -> Iterator[str]:
        yield from (f"{name} stands there twice" for name in self.text.repeated)
        named = self.text.trailers.get(WORKSTREAM, self.stream.ws_id)
        if named != self.stream.ws_id:
            yield f"{WORKSTREAM} is {named}, the commit is that of {self.stream.ws_id}"
        if not self.is_start and self.stream.state != "completed":
            yield f"workstream {self.stream.slug} is {self.stream.state}, not completed"

    def tree(self) -> Iterator[str]:
        if len(self.text.parents) != 2:
            yield f"it has {len(self.text.parents)} parents, a merge has two"
            return
        ours, theirs = self.text.parents
        if not self.is_start and theirs != self.stream.head_commit:
            yield f"it merges {theirs}, the workstream's tip is {self.stream.head_commit}"
        merged = merge(self.work.repository, ours, theirs)
        if isinstance(merged, Conflict):
            yield f"its parents conflict in {', '.join(merged.paths)}"
        elif merged.tree != self.text.tree:
            yield f"its parents merge to the tree {merged.tree}, the commit has {self.text.tree}"

    def gates(self) -> Iterator[str]:
        named = self.text.names(GATES) if GATES in self.text.trailers else None
        own = self.stream.ws_id
        yield from gate_problems(
            self.work, self.rows, named, belongs=lambda row: row.workstream_id == own
        )
        spec = spec_or_problem(self.work, self.run)
        if isinstance(spec, str):
            yield spec
        elif self.stream.slug in spec.workstreams:
            yield from plan_problems(
                spec.gates, spec.workstreams[self.stream.slug].gates, self.rows
            )

    def commit(self) -> Iterator[str]:
        text = self.text
        message = message_with_trailers(text.subject, text.trailers)
        date = self.run.created_at
        made = self.work.repository.commit(text.tree, text.parents, message, date)
        if made != text.name:
            yield f"written again from the state, the commit is {made}"
