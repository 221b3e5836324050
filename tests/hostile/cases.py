"""One entry of the corpus: a patch, what it is judged by, and what must come out.

Expectations are written from the design (section 6: "Scope", "Patch limits", "Reason codes"), not
from the code that they judge.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

CODES = frozenset(
    (
        *("empty", "malformed", "oversize", "declared_mismatch", "out_of_scope", "forbidden_path"),
        *("git_dir", "path_escape", "path_characters", "path_collision", "windows_name", "symlink"),
        *("submodule", "attributes", "mode", "binary", "eol", "deletion", "protected", "secret"),
        "conflict",
    )
)
"""The pinned reason codes."""

EVERYTHING: Mapping[str, Any] = {
    "allow_binary": True,
    "allow_exec": True,
    "allow_symlinks": True,
    "allow_test_removal": True,
    "allow_protected": ["**"],
}
"""A policy that allows what a plan can allow."""


@dataclass(frozen=True)
class Case:
    """A patch of the corpus.

    Attributes:
        name: `family-what`, unique.
        patch: its bytes.
        reasons: what must be among the reasons: a code, or several joined by `|` where the design
            leaves open which one, and the path that it must name (None: any or none). Without
            reasons the patch must be accepted.
        also: further codes that may be given; any other is an error.
        scope, create: globs of the task.
        policy: what the plan's policy says.
        effects: the paths that an accepted patch changes, each with its change.
    """

    name: str
    patch: bytes
    reasons: tuple[tuple[str, str | None], ...] = ()
    also: frozenset[str] = frozenset()
    scope: tuple[str, ...] = ("**",)
    create: tuple[str, ...] = ()
    policy: Mapping[str, Any] = field(default_factory=dict)
    effects: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        named = {code for spelled, _ in self.reasons for code in spelled.split("|")}
        assert named | self.also <= CODES, self.name

    @property
    def malicious(self) -> bool:
        """Whether it must be refused."""
        return bool(self.reasons)


def bad(name: str, patch: bytes, code: str, path: str | None = None, /, **more: Any) -> Case:
    """A patch that is refused for one reason.

    `also` (in `more`) are further codes, separated by blanks; the rest of `more` goes to the case.
    """
    also = frozenset(more.pop("also", "").split())
    return Case(name, patch, ((code, path),), also, **more)


def good(name: str, patch: bytes, effects: Mapping[str, str], /, **more: Any) -> Case:
    """A patch that is accepted, and what it changes."""
    return Case(name, patch, effects=effects, **more)
