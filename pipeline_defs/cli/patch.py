"""`patch`: what can be done with one patch."""

from pipeline_defs.cli.lazy import LazyGroup

COMMANDS = {
    "check": ("patch_check:check", "Say what a patch file would do, and whether that is allowed."),
    "show": ("patch_life:show", "Show a patch: diff, effects, gates, history."),
    "replace": ("patch_life:replace", "Land another patch in the place of a quarantined one."),
    "drop": ("patch_life:drop", "Discard a quarantined patch."),
}


patch = LazyGroup(
    "patch",
    commands_at=COMMANDS,
    help="Check, show, replace or drop a patch.",
)
