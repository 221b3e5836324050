"""Why a branch that people have checked out cannot be moved now: their work comes first."""

from resources.effects import printable
from state.errors import PreflightError


class CheckoutBusy(PreflightError):
    """The branch to land on is checked out with local changes."""

    code = "checkout_busy"

    what, remedy = "local changes", "commit or stash them"

    def __init__(self, branch: str, checkout: str, changed: tuple[str, ...]) -> None:
        self.branch, self.checkout, self.changed = branch, checkout, changed
        named = ", ".join(printable(path) for path in changed[:5])
        named += ", ..." if len(changed) > 5 else ""
        super().__init__(
            f"branch {branch} is checked out in {checkout} with {self.what} ({named})",
            hint=self.remedy,
        )


class CheckoutLeftBehind(CheckoutBusy):
    """The branch to land on is checked out, and the files are those of the commit before."""

    code = "checkout_left_behind"

    what = "the files of the commit before, as a landing that died leaves them"
    remedy = "see `patchline status` for how to go on; if it is your work, commit or stash it"


class FilesInTheWay(CheckoutBusy):
    """The branch to land on is checked out with files of a person where new ones would go."""

    code = "files_in_the_way"

    what, remedy = "untracked files in the way", "move them away"


class IndexLocked(CheckoutBusy):
    """The branch to land on is checked out, and a git command there does not end."""

    code = "index_locked"

    what = "a git command under way"
    remedy = "wait for it, or delete its index.lock if there is none"
