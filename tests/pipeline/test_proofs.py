"""The proof of a commit: it holds for what landed, and names the part that does not."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from pipeline_defs.past_runs import spec_of_run
from resources.audit.verdict import make_checkpoint
from resources.proof.of_commit import CommitProof, prove_commit, reading_repository
from state.home import Home
from state.store import StateStore
from state.trigger_sql import drop_statements
from tests.pipeline.lab import Lab, git, stream, task

PARTS = ["trailers", "patch", "tree", "gates", "audit", "ledger", "commit"]
IMAGE = r"printf '\0\1\2image\n' > image.bin"
PLAN = (
    stream("core", task("one", "echo one > one.txt; rm b.txt"), task("two", "echo 2 > src/two.py")),
    stream("other", task("bytes", IMAGE), gates=["ok", "advice"]),
)


@dataclass
class Copy:
    """A copy of a run's home and repository, to do things to."""

    folder: Path
    target: str

    @property
    def repo(self) -> Path:
        return self.folder / "repo"

    @property
    def home(self) -> Home:
        return Home.at(self.folder / "home")

    def store(self) -> StateStore:
        return StateStore.open(self.home.database_url, events=self.home.events)

    def prove(self, revision: str) -> CommitProof:
        with self.store() as store, reading_repository(self.repo) as repository:
            name = repository.resolve(revision)
            assert name is not None
            return prove_commit(
                store, repository, name, lambda run: spec_of_run(store, self.home, run)
            )

    def commit_of(self, task: str) -> str:
        """The commit of a task, by its title."""
        return git(self.repo, "log", "--all", "-1", "--format=%H", f"--grep=^Do {task}$")

    def tamper(self, statement: str) -> None:
        """Change the database as somebody would who took the triggers away first."""
        engine = sa.create_engine(self.home.database_url, poolclass=sa.NullPool)
        with engine.begin() as connection:
            for drop in drop_statements("sqlite"):
                connection.exec_driver_sql(drop)
            assert connection.exec_driver_sql(statement).rowcount > 0, statement


@pytest.fixture(scope="module")
def landed(tmp_path_factory: pytest.TempPathFactory, dagster_home: Path) -> Lab:
    lab = Lab(tmp_path_factory.mktemp("landed"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATCHLINE_HOME", str(lab.home.root))
        patch.setenv("DAGSTER_HOME", str(dagster_home))
        advice = {"command": ["false"], "blocking": False}
        ran = lab.run(*PLAN, gates={"advice": advice}, policy={"allow_binary": True})
    assert ran.state == "succeeded", ran.summary
    lab.close()
    return lab


@pytest.fixture
def copy(landed: Lab, tmp_path: Path) -> Copy:
    shutil.copytree(landed.folder, tmp_path / "copy", symlinks=True)
    return Copy(tmp_path / "copy", landed.head())


def failing(proof: CommitProof) -> set[str]:
    assert proof.verified == all(part.ok for part in proof.parts)
    return {part.part for part in proof.parts if not part.ok}


def said(proof: CommitProof, name: str) -> str:
    (message,) = [part.message for part in proof.parts if part.part == name]
    return message


@pytest.mark.parametrize("name", ["one", "two", "bytes"])
def test_every_commit_that_landed_is_proven(copy: Copy, name: str) -> None:
    proof = copy.prove(copy.commit_of(name))
    assert [part.part for part in proof.parts] == PARTS
    assert proof.verified, proof
    assert proof.ledger_id is not None
    assert list(proof.as_document()) == ["commit", "ledger_id", "verified", "parts"]


def test_the_merge_of_a_workstream_is_proven(copy: Copy) -> None:
    merges = git(copy.repo, "rev-list", "--merges", "main").split()
    assert merges
    proof = copy.prove(merges[0])
    assert proof.verified, proof
    assert proof.ledger_id is None
    assert "three-way merge" in said(proof, "tree")


def test_what_nobody_needs_any_more_may_have_been_collected(copy: Copy) -> None:
    """The tree of a patch that was merged is reachable from no ref; its diff makes it again."""
    git(copy.repo, "reflog", "expire", "--expire=now", "--all")
    git(copy.repo, "gc", "-q", "--prune=now")
    assert copy.prove(copy.commit_of("one")).verified
    assert copy.prove(copy.commit_of("two")).verified


def test_a_commit_of_a_person_is_not_proven(copy: Copy) -> None:
    first = git(copy.repo, "rev-list", "--max-parents=0", "main")
    proof = copy.prove(first)
    assert failing(proof) == {"trailers"}
    assert "was not landed by it" in said(proof, "trailers")


ENTRY = "(SELECT ledger_id FROM patch_ledger_entries JOIN tasks USING (task_id) WHERE slug = 'one')"
OF_ONE = f"WHERE ledger_id = {ENTRY}"
PATCH = f"WHERE patch_id = (SELECT patch_id FROM patch_ledger_entries {OF_ONE})"
LEDGER = "UPDATE patch_ledger_entries"
OTHER_DIFF = "CAST(replace(CAST(diff AS TEXT), '+one', '+own') AS BLOB)"
APPLIED, VERIFIED = (f"entity_id = {ENTRY} AND to_state = '{x}'" for x in ("applied", "verified"))


@pytest.mark.parametrize(
    ("statement", "parts"),
    [
        (f"UPDATE test_gates SET exit_code = 1 {OF_ONE}", {"gates"}),
        (f"UPDATE test_gates SET state = 'FAILED', exit_code = 1 {OF_ONE}", {"gates"}),
        (f"UPDATE test_gates SET tree = 'beef' {OF_ONE}", {"gates"}),
        (f"UPDATE test_gates SET command = '[\"echo\"]' {OF_ONE}", {"gates"}),
        (f"UPDATE test_gates SET ledger_id = NULL {OF_ONE}", {"gates", "commit"}),
        (f"{LEDGER} SET commit_sha = 'beef' {OF_ONE}", {"ledger", "audit"}),
        (f"{LEDGER} SET candidate_tree = 'beef' {OF_ONE}", {"tree", "audit", "commit"}),
        (f"{LEDGER} SET commit_date = '2020-01-01T00:00:00.000000Z' {OF_ONE}", {"commit"}),
        (f"UPDATE patches SET sha256 = 'beef' {PATCH}", {"trailers", "patch", "commit"}),
        (f"UPDATE patches SET diff = {OTHER_DIFF} {PATCH}", {"patch", "tree"}),
        (f"UPDATE state_transitions SET reason = 'x' WHERE {VERIFIED}", {"audit"}),
        (f"DELETE FROM state_transitions WHERE {APPLIED}", {"audit", "commit"}),
    ],
)
def test_what_somebody_changed_in_the_database_fails_its_part(
    copy: Copy, statement: str, parts: set[str]
) -> None:
    copy.tamper(statement)
    proof = copy.prove(copy.commit_of("one"))
    assert failing(proof) == parts, proof


def test_a_gate_of_the_plan_that_did_not_run_is_missed(copy: Copy) -> None:
    gone = "WHERE name = 'advice' AND role = 'exit'"
    copy.tamper("DELETE FROM task_gates")
    copy.tamper(f"DELETE FROM test_gates {gone}")
    proof = copy.prove(copy.commit_of("bytes"))
    assert "gates" in failing(proof)
    assert "gate advice, which the plan asks for, did not run" in said(proof, "gates")


def test_a_forged_commit_with_true_trailers_is_found_out(copy: Copy) -> None:
    commit = copy.commit_of("one")
    message = git(copy.repo, "log", "-1", "--format=%B", commit)
    tree = git(copy.repo, "rev-parse", "main^{tree}")
    forged = git(copy.repo, "commit-tree", tree, "-p", f"{commit}^", "-m", message)
    assert {"tree", "gates", "ledger", "commit"} <= failing(copy.prove(forged))


def test_an_amended_message_is_found_out(copy: Copy) -> None:
    commit = copy.commit_of("one")
    message = git(copy.repo, "log", "-1", "--format=%B", commit).replace("Do one", "Do none")
    tree = git(copy.repo, "rev-parse", f"{commit}^{{tree}}")
    amended = git(copy.repo, "commit-tree", tree, "-p", f"{commit}^", "-m", message)
    assert failing(copy.prove(amended)) == {"ledger", "commit"}


def test_trailers_of_an_entry_that_nobody_knows_prove_nothing(copy: Copy) -> None:
    text = "x\n\nPatchline-Run: run_x\nPatchline-Ledger: led_x\n"
    forged = git(copy.repo, "commit-tree", "main^{tree}", "-p", "main", "-m", text)
    proof = copy.prove(forged)
    assert failing(proof) == {"trailers"}
    assert "this store has no ledger entry led_x" in said(proof, "trailers")


def test_a_forged_merge_is_found_out(copy: Copy) -> None:
    run_id = git(copy.repo, "log", "-1", "--format=%(trailers:key=Patchline-Run,valueonly)", "main")
    text = f"Merge\n\nPatchline-Run: {run_id.strip()}\n"
    forged = git(copy.repo, "commit-tree", "main^{tree}", "-p", "main", "-m", text)
    assert failing(copy.prove(forged)) == {"trailers"}


def test_a_checkpoint_vouches_for_the_event_once_it_is_anchored(copy: Copy) -> None:
    commit = copy.commit_of("one")
    assert "under no checkpoint yet" in said(copy.prove(commit), "audit")
    with copy.store() as store:
        make_checkpoint(store, copy.home, [copy.repo])
    proof = copy.prove(commit)
    assert proof.verified
    assert "under checkpoint 1" in said(proof, "audit")
    assert said(proof, "audit").endswith("anchored in this repository")
    git(copy.repo, "update-ref", "-d", "refs/patchline/audit")
    assert said(copy.prove(commit), "audit").endswith("NOT anchored in this repository")


def test_a_history_written_anew_below_a_checkpoint_is_found_out(copy: Copy) -> None:
    with copy.store() as store:
        make_checkpoint(store, copy.home, [copy.repo])
    first = "(SELECT min(transition_id) FROM state_transitions)"
    copy.tamper(f"UPDATE state_transitions SET hash = 'beef' WHERE transition_id = {first}")
    proof = copy.prove(copy.commit_of("one"))
    assert failing(proof) == {"audit"}
    assert "cannot be proved" in said(proof, "audit")


def test_a_damaged_plan_revision_proves_no_gates(copy: Copy) -> None:
    for path in copy.home.plans.rglob("*.yaml"):
        path.write_text("plan: other\n")
    assert copy.prove(copy.commit_of("one")).verified, "the database has the revision too"
    copy.tamper("UPDATE phases SET document = replace(document, 'true', 'echo')")
    proof = copy.prove(copy.commit_of("one"))
    assert failing(proof) == {"gates"}
    assert "its plan cannot be read" in said(proof, "gates")
