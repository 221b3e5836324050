"""The judge of effects: may a patch do what it does?

A pure function over what git says a patch does (`resources.effects.Change`). Every rule is a
generator of reasons in a file of its own; reason codes are pinned (design section 6). All rules
are asked, so that whoever made the patch learns everything at once.
"""

from collections.abc import Iterator

from resources.effects import Change
from resources.patch_policy.amount import too_large, too_much_blanked, too_much_gone
from resources.patch_policy.attributes import attribute_drivers
from resources.patch_policy.binary import binaries
from resources.patch_policy.collisions import colliding
from resources.patch_policy.kept_tests import emptied_tests, removed_tests
from resources.patch_policy.kinds import odd_kinds
from resources.patch_policy.line_ends import turned_line_ends
from resources.patch_policy.links import links_away, special_links
from resources.patch_policy.names import ill_named
from resources.patch_policy.places import PROTECTED_BY_DEFAULT, out_of_place
from resources.patch_policy.reasons import Reason, Scope
from resources.patch_policy.secrets import leaked_secrets
from resources.patch_policy.sections import sections
from resources.specs import PolicySpec

__all__ = ["PROTECTED_BY_DEFAULT", "Reason", "Scope", "judge"]


def judge(change: Change, scope: Scope, policy: PolicySpec) -> tuple[Reason, ...]:
    """Every reason to refuse a patch, each once; none means that it is accepted.

    Args:
        change: what it does.
        scope: where its task may work.
        policy: the plan's limits.
    """
    if not change.effects:
        return (Reason("empty", "the patch changes nothing"),)
    oversize = tuple(too_large(change, policy))
    reasons = [
        *oversize,
        *ill_named(change),
        *out_of_place(change, scope, policy),
        *odd_kinds(change, policy),
        *special_links(change),
        *colliding(change),
        *too_much_gone(change),
        *attribute_drivers(change),
    ]
    if policy.allow_symlinks:
        reasons += links_away(change)
    if not policy.allow_test_removal:
        reasons += removed_tests(change)
    if not oversize:  # a refused patch of any size is not worth reading
        reasons += _about_contents(change, policy)
    return tuple(dict.fromkeys(reasons))


def _about_contents(change: Change, policy: PolicySpec) -> Iterator[Reason]:
    texts = sections(change)
    if not policy.allow_test_removal:
        yield from emptied_tests(change, texts)
    if not policy.allow_binary:
        yield from binaries(change, texts)
    yield from too_much_blanked(change, texts)
    yield from turned_line_ends(change, texts)
    yield from leaked_secrets(change, texts, policy)
