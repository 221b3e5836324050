"""When a series of refusals is a loop."""

from resources.execution.loop_guard import BACK_AND_FORTH, Refusal, loop_in


def refused(*shas: str) -> list[Refusal]:
    return [Refusal(number, sha, f"gate {sha} failed") for number, sha in enumerate(shas, 1)]


def test_different_patches_are_no_loop() -> None:
    assert loop_in(refused("a")) is None
    assert loop_in(refused("a", "b", "c")) is None


def test_the_same_patch_again_is_one_and_names_the_attempt_before() -> None:
    assert loop_in(refused("a", "a")) == (
        "the same patch as in attempt 1 was refused before: gate a failed"
    )
    assert loop_in(refused("a", "b", "b")) == (
        "the same patch as in attempt 2 was refused before: gate b failed"
    )


def test_going_back_and_forth_is_one() -> None:
    said = loop_in(refused("a", "b", "a"))
    assert said == f"{BACK_AND_FORTH} (attempts 1 and 3, 2 between them): gate a failed"


def test_coming_back_after_several_others_is_one() -> None:
    said = loop_in(refused("a", "b", "c", "a"))
    assert said == "the same patch as in attempt 1 was refused before: gate a failed"


def test_attempts_that_were_not_refused_do_not_count() -> None:
    """Attempt 2 was interrupted, say: nothing lies between 1 and 3."""
    first, _, third = refused("a", "b", "a")
    assert loop_in([first, third]) == (
        "the same patch as in attempt 1 was refused before: gate a failed"
    )
