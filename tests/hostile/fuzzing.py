"""Judges damaged patches, and checks what was accepted against git and rules of its own.

A case is made of its seed and number alone, and so can be seen again:
`python tests/hostile/fuzz.py --seed S --case N`.
"""

import shutil
import subprocess
import time
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from resources.git.repository import Repository
from resources.patch_policy import Scope
from resources.patches.check import Checked, check_patch
from resources.specs import PolicySpec
from tests.hostile.answers import assert_well_formed
from tests.hostile.mutations import mutated
from tests.resources.gitbox import git

SAMPLE = Path(__file__).parents[2] / "examples/sample"
SCOPES = (("**",), ("**",), ("src/**",), ("src/**", "tests/**"))
SECONDS = 20.0
HISTORY = 16


@dataclass
class Field:
    """A repository, a clone to try things in, real diffs to damage, and what came out so far."""

    repository: Repository
    clone: Path
    base: str
    diffs: list[bytes]
    verdicts: Counter[str] = field(default_factory=Counter)

    @classmethod
    def make(cls, folder: Path) -> "Field":
        """Build everything in an empty folder."""
        origin = folder / "repo"
        shutil.copytree(SAMPLE, origin, ignore=shutil.ignore_patterns("__pycache__", ".*_cache"))
        (origin / "docs").mkdir()
        (origin / "docs/with space.txt").write_text("one\ntwo\nthree\n")
        (origin / "docs/caf\u00e9.txt").write_text("un\ndeux\ntrois\n")
        (origin / "docs/windows.txt").write_bytes(b"one\r\ntwo\r\nthree\r\n")
        (origin / "docs/no-end.txt").write_text("first\nlast")
        git(origin, "init", "-q", "-b", "main")
        git(origin, "add", "-A")
        git(origin, "commit", "-q", "-m", "sample")
        diffs = [real_diff(origin, Random(number)) for number in range(HISTORY)]
        git(folder, "clone", "-q", "repo", "clone")
        base = git(origin, "rev-parse", "main")
        return cls(Repository.open(origin, folder / "home"), folder / "clone", base, diffs)

    def patch(self, seed: int, number: int) -> tuple[bytes, Scope]:
        """The damaged patch of a case, and the scope that it is judged by."""
        random = Random(f"{seed}/{number}")
        patch = mutated(random, random.choice(self.diffs), self.diffs)
        return patch, Scope(random.choice(SCOPES))

    def run(self, seed: int, number: int) -> None:
        """Judge one case; raises AssertionError for whatever must not happen."""
        patch, scope = self.patch(seed, number)
        started = time.monotonic()
        found = check_patch(self.repository, self.base, patch, scope, PolicySpec())
        assert time.monotonic() - started < SECONDS, "it hangs"
        assert_well_formed(found)
        self.verdicts[str(found.verdict)] += 1
        self.verdicts.update({reason.code for reason in found.reasons})
        if found.verdict == "accept":
            self.assert_true(patch, scope, found)

    def assert_true(self, patch: bytes, scope: Scope, found: Checked) -> None:
        """What was accepted does exactly what the answer says, and nothing that is forbidden."""
        try:
            applied = subprocess.run(
                ["git", "apply", "--index"], cwd=self.clone, input=patch, capture_output=True
            )
            assert applied.returncode == 0, f"git does not apply it: {applied.stderr}"
            tree = git(self.clone, "write-tree")
            assert tree == found.tree, "git makes another tree of it"
            listed = git(self.clone, "diff-tree", "-r", "-z", "--no-renames", self.base, tree)
            told = {p for e in found.effects for p in (e.path, e.old_path) if p}
            real = set(listed.split("\0")[1::2])
            # A copy's source is told, and is unchanged.
            assert real <= told, "an effect is not told"
            assert_allowed(self.clone, listed, scope)
        finally:
            git(self.clone, "reset", "-q", "--hard", self.base)
            git(self.clone, "clean", "-ffdxq")


def real_diff(repo: Path, random: Random) -> bytes:
    """What git says of some edits, moves, additions and deletions; undone afterwards."""
    files = sorted(p for p in repo.rglob("*") if p.is_file() and ".git" not in p.parts)
    files = [path for path in files if path.suffix in (".py", ".txt", ".md")]
    for path in random.sample(files, random.randint(1, 4)):
        kind = random.choice(("edit", "edit", "edit", "edit", "move", "add", "remove"))
        text = path.read_bytes().splitlines(keepends=True)
        if kind == "remove" and "tests" not in path.parts:
            path.unlink()
            continue
        if kind == "move" and "tests" not in path.parts:
            path = path.rename(path.with_name(f"moved_{path.name}"))
        if kind == "add":
            path = path.with_name(f"test_added_{path.name}")
        for _ in range(random.randint(0 if kind == "move" else 1, 3)):
            place = random.randrange(len(text) + 1)
            end = b"\r\n" if text and text[0].endswith(b"\r\n") else b"\n"
            new = b"# line %d" % random.randrange(1000) + end
            text[place : place + random.choice((0, 0, 1))] = [new]
        path.write_bytes(b"".join(text))
    git(repo, "add", "-A")
    options = random.choice((("-M",), ("-M", "--binary", "--full-index"), ("-C", "-C"), ("-U1",)))
    done = subprocess.run(
        ["git", "diff", "--cached", *options, "HEAD"], cwd=repo, capture_output=True, check=True
    )
    git(repo, "reset", "-q", "--hard")
    return done.stdout


def assert_allowed(clone: Path, listed: str, scope: Scope) -> None:
    """An independent and simple second opinion on the effects, as `diff-tree -r -z` lists them."""
    fields = listed.split("\0")
    effects = list(zip(fields[::2], fields[1::2], strict=False))
    assert 1 <= len(effects) <= 100
    for head, path in effects:
        old_mode, new_mode, _, blob, _ = head.removeprefix(":").split(" ")
        assert {old_mode, new_mode} <= {"000000", "100644", "100755"}, f"{path} {head}"
        assert "100755" not in (old_mode, new_mode) or old_mode == new_mode, f"{path} {head}"
        if scope.change != ("**",):
            assert path.startswith(tuple(glob.removesuffix("**") for glob in scope.change)), path
        assert_plain_name(path)
        if new_mode != "000000":
            assert b"\0" not in subprocess.run(
                ["git", "cat-file", "blob", blob], cwd=clone, capture_output=True, check=True
            ).stdout, f"{path} is binary"  # fmt: skip


def assert_plain_name(path: str) -> None:
    """No name that reaches out, hides, or means something else elsewhere."""
    assert not path.startswith(("/", "-"))
    assert "\\" not in path
    assert ":" not in path
    assert all(unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in path), path
    for part in path.split("/"):
        assert part not in ("", ".", "..")
        assert part == part.strip(" .") or part.startswith("."), path
        assert not part.lower().startswith((".git", "git~")) or part == ".gitignore", path
        assert part.lower() not in ("pyproject.toml", "makefile", "conftest.py", "setup.py"), path
        assert part.lower().partition(".")[0] not in ("con", "nul", "aux", "prn"), path
