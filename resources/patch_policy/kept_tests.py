"""Tests that a patch takes away: deleted, emptied, or moved to where no runner looks for them.

Whoever cannot make a test pass is tempted to remove it. Source: design section 6, "Patch limits".
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from resources.effects import ABSENT, SUBMODULE, SYMLINK, Change, Effect, printable
from resources.globs import Globs
from resources.patch_policy.amount import EMPTY_BLOBS
from resources.patch_policy.reasons import Reason, about
from resources.patch_policy.sections import Section

_BY_NAME = Globs(
    (
        *("test.*", "tests.*", "test_*", "test-*", "*_test.*", "*_tests.*", "*-test.*"),
        *("*.test.*", "*.spec.*", "*_spec.*", "*-spec.*", "*.cy.*", "*.test-d.*", "*.Tests.*"),
        *("Test*.java", "*Test.java", "*Tests.java", "*TestCase.java", "*IT.java", "*Test.kt"),
        *("*Test.php", "*Test.scala", "*Spec.scala", "*Spec.groovy", "*Test.groovy"),
        *("*Test.cs", "*Tests.cs", "*Test.swift", "*Tests.swift", "*Test.cpp", "*_unittest.*"),
    )
)
_FOLDERS = frozenset({"test", "tests", "__tests__"})
_NO_RUNNER_LOOKS = frozenset({"build", "cvs", "_darcs", "dist", "node_modules", "venv"})
_MARK = re.compile(
    rb"^[ \t\f\v\r]*(?:"
    rb"(?:async\s+)?def\s+test|class\s+\w{0,60}Test"  # Python, Ruby
    rb"|(?:public\s+)?function\s+test"  # PHP
    rb"|func\s+(?:\([^)\n]{0,80}\)\s*)?(?:[Tt]est|Benchmark|Example|Fuzz)"  # Go, Swift
    rb"|(?:it|test|describe|context|specify|suite)(?:\.\w+){0,3}\s*(?:[('\"`]|[A-Z][\w:]*\s+do\b)"
    rb"|@\w{0,40}Test\b|#\[(?:\w+::){0,3}test\b|\[(?:Fact|Theory|Test\w{0,20})\b"  # Java, Rust, C#
    rb"|(?:TEST|TEST_\w{1,40}|SCENARIO)\s*\()",  # C++
    re.MULTILINE,
)
"""How a test begins, by what its runner looks for: a test of another name is no test any more."""


def removed_tests(change: Change) -> Iterator[Reason]:
    """Tests that are no longer there, each with what became of it."""
    for effect in change.effects:
        was = effect.old_path or effect.path
        if not _is_test(was) or effect.old_mode == ABSENT or effect.change == "copied":
            continue
        if fate := _fate(effect, was):
            yield _removed(was, fate)


def emptied_tests(change: Change, texts: Sequence[Section]) -> Iterator[Reason]:
    """Tests that still have lines, but no test in them any more.

    Only files that lose the beginning of a test, or gain no line at all, are read.
    """
    suspects: list[Effect] = []
    for text in texts:
        effect = text.effect
        was = effect.old_path or effect.path
        there = ABSENT not in (effect.old_mode, effect.new_mode) and not (
            effect.new_blob in EMPTY_BLOBS or effect.change in ("copied", "type_changed")
        )
        gains = any(line.strip() for _, line in text.added)
        loses = any(_MARK.match(line) for line in text.removed)
        if there and _is_test(was) and text.removed and (loses or not gains):
            suspects.append(effect)
    contents = change.contents(
        blob for effect in suspects for blob in (effect.old_blob, effect.new_blob)
    )
    for effect in suspects:
        old, new = contents[effect.old_blob], contents[effect.new_blob]
        if old is None or new is None:
            text = f"{printable(effect.path)} is too large to judge whether its tests are kept"
            yield about(effect.path, "oversize", text)
        elif (_MARK.search(old) and not _MARK.search(new)) or not new.strip():
            yield _removed(effect.old_path or effect.path, "emptied")


def _removed(path: str, fate: str) -> Reason:
    text = f"the test {printable(path)} is {fate}; policy.allow_test_removal permits it"
    return about(path, "deletion", text)


def _fate(effect: Effect, was: str) -> str | None:
    """What the effect alone tells."""
    if effect.new_mode == ABSENT:
        return "deleted"
    if effect.new_mode in (SYMLINK, SUBMODULE) and effect.old_mode not in (SYMLINK, SUBMODULE):
        return "replaced"
    if effect.new_blob in EMPTY_BLOBS and effect.old_blob not in EMPTY_BLOBS:
        return "emptied"
    if effect.change == "renamed" and not _is_still_found(was, effect.path):
        return f"moved to {printable(effect.path)}, where no runner looks for it"
    return None


def _is_test(path: str) -> bool:
    return _named_like_a_test(path) or _in_test_folder(path)


def _named_like_a_test(path: str) -> bool:
    return _BY_NAME.matches(path.rpartition("/")[2])


def _in_test_folder(path: str) -> bool:
    return any(part.lower() in _FOLDERS for part in path.split("/")[:-1])


def _is_still_found(was: str, now: str) -> bool:
    """Whether a runner that found a test under its old name finds it under the new one."""
    if _in_test_folder(was) and not _in_test_folder(now):
        return False
    if not _named_like_a_test(was):
        return _is_test(now)
    same_kind = PurePosixPath(was).suffix == PurePosixPath(now).suffix
    hidden = _hidden(now) - _hidden(was)
    return _named_like_a_test(now) and same_kind and not hidden


def _hidden(path: str) -> set[str]:
    """Folders that test runners do not enter."""
    folders = path.split("/")[:-1]
    return {part for part in folders if part.startswith(".") or part.lower() in _NO_RUNNER_LOOKS}
