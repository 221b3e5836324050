"""The proof of a commit that carries a patch: of a task, a rollback or a replacement."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from resources.effects import printable
from resources.git.commit_text import (
    AUDIT,
    GATES,
    LEDGER,
    PINNED,
    REPLACES,
    REVERTS,
    RUN,
    SHA256,
    TASK,
    message_with_trailers,
)
from resources.git.merging import Conflict
from resources.landing.candidates import carrier_of, patch_candidate
from resources.landing.required_gates import origins, required_gates
from resources.patches.stored import tree_of_diff
from resources.proof.entity_history import EntityHistory, history_of
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
from resources.specs import GateSpec, RunSpec
from state.errors import PatchlineError
from state.landed import ON_THE_BRANCH


def patch_parts(work: Work) -> Sequence[Part]:
    """Every part of the proof of a commit whose trailers name a ledger entry."""
    ledger_id = work.text.trailers.get(LEDGER, "")
    found = work.store.find("patch_ledger", ledger_id=ledger_id) if ledger_id else []
    if not found:
        missing = [name for name in PINNED if name not in work.text.trailers]
        lacks = f"; it lacks {', '.join(missing)}" if missing else ""
        message = f"this store has no ledger entry {ledger_id or '(none named)'}{lacks}"
        return (Part("trailers", False, printable(message)),)
    one = _PatchProof(work, found[0])
    return (
        part("trailers", one.trailers, f"all six agree with the ledger entry {ledger_id}"),
        part("patch", one.patch, "the stored diff has its hash, and makes its tree of its base"),
        part("tree", one.tree, "the patch, merged onto the parent, gives the commit's tree"),
        part("gates", one.gates, f"{_names(one.rows)} passed on exactly this tree"),
        audit_part(work, one.history, f"the ledger entry {ledger_id}"),
        one.ledger(),
        part("commit", one.commit, "written again from the ledger, it is the same object"),
    )


def _names(rows: Sequence[Any]) -> str:
    return ", ".join(str(row.name) for row in rows if row.state == "PASSED")


@dataclass(frozen=True)
class _PatchProof(Proof):
    """What a ledger entry's row tells of the commit."""

    entry: Any

    @cached_property
    def row(self) -> Any:
        """The patch's row, or None."""
        found = self.work.store.find("patch", patch_id=self.entry.patch_id)
        return found[0] if self.entry.patch_id and found else None

    @cached_property
    def rows(self) -> list[Any]:
        """The gates that judged the entry, in their order."""
        wanted = {"ledger_id": self.entry.ledger_id, "role": "exit", "run_id": self.entry.run_id}
        return sorted(self.work.store.find("test_gate", **wanted), key=lambda row: row.position)

    @cached_property
    def history(self) -> EntityHistory:
        return history_of(self.work.store, "patch_ledger", self.entry)

    @cached_property
    def reverted(self) -> list[Any]:
        """The entries that this one took back."""
        return self.work.store.find("patch_ledger", reverted_by=self.entry.ledger_id)

    @cached_property
    def labels(self) -> list[str]:
        """The tasks that the commit may name: the entry's own, or those it took back."""
        own = [origin for one in self._whose for origin in origins(self.work.store, one)]
        return list(dict.fromkeys(origin.name for origin in own))

    @property
    def _whose(self) -> list[Any]:
        """The entries whose tasks the commit is about."""
        return [self.entry] if self.entry.task_id else self.reverted

    # -- the parts -----------------------------------------------------------------------------

    def trailers(self) -> Iterator[str]:
        said = self.text.trailers
        yield from (f"{name} is missing" for name in PINNED if name not in said)
        yield from (f"{name} stands there twice" for name in self.text.repeated)
        if said.get(RUN) != self.entry.run_id:
            yield f"{RUN} is {said.get(RUN)}, the entry's run is {self.entry.run_id}"
        if said.get(TASK) not in self.labels:
            yield f"{TASK} is {said.get(TASK)}, the entry is of {', '.join(self.labels) or 'none'}"
        if self.row is not None and said.get(SHA256) != self.row.sha256:
            yield f"{SHA256} is {said.get(SHA256)}, the entry's patch is {self.row.sha256}"
        took_back = {one.ledger_id for one in self.reverted}
        if set(self.text.names(REVERTS)) != took_back:
            listed = ", ".join(sorted(took_back)) or "nothing"
            yield f"{REVERTS} is {said.get(REVERTS, 'missing')}, the entry took back {listed}"
        if said.get(REPLACES) != self.entry.replaces:
            yield f"{REPLACES} is {said.get(REPLACES)}, the entry replaces {self.entry.replaces}"

    def patch(self) -> Iterator[str]:
        if self.row is None:
            yield "the entry has no patch"
            return
        sha256 = hashlib.sha256(self.row.diff).hexdigest()
        if sha256 != self.row.sha256:
            yield f"the stored diff has the SHA-256 {sha256}, its record says {self.row.sha256}"
        made = tree_of_diff(self.work.repository, self.row.base_commit, self.row.diff)
        if made != self.row.tree:
            yield f"the stored diff makes the tree {made} of its base, its record {self.row.tree}"

    def tree(self) -> Iterator[str]:
        if self.text.tree != self.entry.candidate_tree:
            yield (
                f"the commit has the tree {self.text.tree}, "
                f"the entry's candidate was {self.entry.candidate_tree}"
            )
        if self.text.parents != (self.entry.base_commit,):
            parents = ", ".join(self.text.parents) or "none"
            yield f"its parents are {parents}, the candidate was on {self.entry.base_commit}"
            return
        if self.row is None:
            yield "there is no patch to merge"
            return
        yield from self._merged()

    def _merged(self) -> Iterator[str]:
        """Whether the patch on the commit's parent gives the commit's tree."""
        repository, base = self.work.repository, self.row.base_commit
        tree = tree_of_diff(repository, base, self.row.diff)
        carrier = carrier_of(repository, base, tree, self.row.created_at)
        (parent,) = self.text.parents
        merged = patch_candidate(repository, parent, base, tree, carrier)
        if isinstance(merged, Conflict):
            yield f"the patch conflicts with the parent in {', '.join(merged.paths)}"
        elif merged.tree != self.text.tree:
            yield f"the patch, merged onto the parent, gives the tree {merged.tree}"

    def gates(self) -> Iterator[str]:
        yield from gate_problems(
            self.work,
            self.rows,
            self.text.names(GATES),
            belongs=lambda row: row.ledger_id == self.entry.ledger_id,
        )
        try:
            specs, names = self._asked()
        except PatchlineError as error:
            yield f"its plan cannot be read: {error}"
            return
        yield from plan_problems(specs, names, self.rows)

    def _asked(self) -> tuple[Mapping[str, GateSpec], Sequence[str]]:
        """The gates that had to pass, and the names of those asked for."""
        store, entry = self.work.store, self.entry
        if self._is_plain:
            spec = self.work.spec_of(store.get("run", entry.run_id))
            label = self.labels[0] if self.labels else ""
            return spec.gates, spec.tasks[label].gates if label in spec.tasks else ()

        def spec_of(run_id: str) -> RunSpec:
            return self.work.spec_of(store.get("run", run_id))

        concerned = [origin for one in self._whose for origin in origins(store, one)]
        asked = required_gates(spec_of, entry.run_id, entry.workstream_id, concerned)
        return asked.specs, asked.names

    @property
    def _is_plain(self) -> bool:
        """Whether a task's attempt made it, for its workstream's branch."""
        return self.entry.task_id is not None and self.entry.replaces is None

    def ledger(self) -> Part:
        entry = self.entry
        words = {
            "committed": "the entry is committed, with this commit",
            "rolled_back": f"the entry was committed with this commit, and later rolled back by "
            f"{entry.reverted_by}: {entry.rollback_reason}",
        }

        def problems() -> Iterator[str]:
            if entry.state not in ON_THE_BRANCH:
                yield f"the entry is {entry.state}, not committed"
            if entry.commit_sha != self.text.name:
                yield f"the entry's commit is {entry.commit_sha}"

        return part("ledger", problems, words.get(entry.state, str(entry.state)))

    def commit(self) -> Iterator[str]:
        """Write the commit again from what the ledger, the plan and the audit know."""
        entry, said = self.entry, self.text.trailers
        if None in (entry.candidate_tree, entry.base_commit, entry.commit_date) or not self.row:
            yield "the ledger does not hold all that the commit was made of"
            return
        applied = [row["event_id"] for row in self.history.rows if row["to_state"] == "applied"]
        trailers = {
            RUN: entry.run_id,
            TASK: said[TASK] if said.get(TASK) in self.labels else ", ".join(self.labels),
            LEDGER: entry.ledger_id,
            SHA256: self.row.sha256,
            GATES: ", ".join(row.gate_id for row in self.rows),
            AUDIT: applied[-1] if applied else "",
            **{name: value for name, value in said.items() if name not in PINNED},
        }
        message = message_with_trailers(self._subject(), trailers)
        made = self.work.repository.commit(
            entry.candidate_tree, (entry.base_commit,), message, entry.commit_date
        )
        if made != self.text.name:
            yield f"written again from the ledger, the commit is {made}"

    def _subject(self) -> str:
        """A task's title by its plan; a rollback's own words, which no plan knows."""
        spec = spec_or_problem(self.work, self.work.store.get("run", self.entry.run_id))
        if self._is_plain and not isinstance(spec, str) and self.labels[0] in spec.tasks:
            return spec.tasks[self.labels[0]].title
        return self.text.subject
