"""Compares an answer of `check_patch` with what the corpus expects of it."""

import json
from typing import Any

from resources.effects import printable
from resources.patch_policy import Scope
from resources.patches.check import Checked, check_patch
from resources.specs import PolicySpec
from tests.hostile.cases import CODES, Case
from tests.hostile.scenery import Scenery

LONGEST_MESSAGE = 4000


def judged(scenery: Scenery, case: Case) -> Checked:
    """The answer of the real code to a case."""
    return check_patch(
        scenery.repository,
        scenery.base,
        case.patch,
        Scope(case.scope, case.create),
        PolicySpec.model_validate(dict(case.policy)),
    )


def assert_well_formed(found: Checked) -> list[dict[str, Any]]:
    """Verdict, codes, JSON, and text that a terminal can bear; the reasons as JSON."""
    assert found.verdict in ("accept", "reject")
    assert (found.verdict == "reject") == bool(found.reasons)
    if found.verdict == "accept":
        assert found.tree
        assert found.effects
    reasons = [reason.to_json() for reason in found.reasons]
    for reason in reasons:
        assert list(reason) == ["code", "message", "path"]
        assert reason["code"] in CODES
        message = reason["message"]
        assert message
        assert len(message) <= LONGEST_MESSAGE
        assert is_harmless(message), f"{message!r} reaches a terminal"
    document = {
        "verdict": str(found.verdict),
        "reasons": reasons,
        "effects": [effect.to_json() for effect in found.effects],
    }
    json.dumps(document, ensure_ascii=False).encode()  # no lone surrogates
    return reasons


def is_harmless(text: str) -> bool:
    """Whether text can be shown in a terminal: no control and no direction characters."""
    return not any(
        (ord(c) < 32 and c != "\n")
        or 127 <= ord(c) < 160
        or c in "\u061c\u200b\u200e\u200f\u2028\u2029\ufeff"
        or "\u202a" <= c <= "\u202e"
        or "\u2066" <= c <= "\u2069"
        or "\ud800" <= c <= "\udfff"
        for c in text
    )


def disagreements(case: Case, found: Checked) -> list[str]:
    """What differs from the expectation; nothing when all is as it should be."""
    reasons = assert_well_formed(found)
    if not case.malicious:
        if reasons:
            return [f"refused: {reasons[:3]}"]
        effects = {effect.path: effect.change for effect in found.effects}
        return [] if effects == case.effects else [f"effects {effects}"]
    if found.verdict == "accept":
        return [f"accepted; wanted {case.reasons}"]
    problems = []
    for spelled, path in case.reasons:
        codes = set(spelled.split("|"))
        paths = {None} if path is None else {path, printable(path)}
        if not any(r["code"] in codes and (path is None or r["path"] in paths) for r in reasons):
            problems.append(f"lacks {spelled} at {path!r}: {reasons[:4]}")
        codes |= case.also
    wanted = {code for spelled, _ in case.reasons for code in spelled.split("|")} | case.also
    extra = [reason for reason in reasons if reason["code"] not in wanted]
    if extra:
        problems.append(f"gives besides {extra[:4]}")
    return problems
