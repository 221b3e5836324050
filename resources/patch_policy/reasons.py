"""Why a patch is refused, and where it may work."""

from dataclasses import asdict, dataclass

from resources.effects import spelled


@dataclass(frozen=True)
class Reason:
    """Why a patch is refused: a stable code, a sentence for people, and the path it is about."""

    code: str
    message: str
    path: str | None = None

    def to_json(self) -> dict[str, str | None]:
        """The pinned spelling: code, message, path."""
        return asdict(self)


@dataclass(frozen=True)
class Scope:
    """Where a patch may change things (`files_scope`) and where it may only create them."""

    change: tuple[str, ...] = ("**",)
    create: tuple[str, ...] = ()


def about(path: str, code: str, message: str) -> Reason:
    """A reason that names a path of the patch."""
    return Reason(code, message, spelled(path))


def overrun(error: Exception) -> Reason:
    """The reason of a patch that git could not work with by the means it was given."""
    return Reason("oversize", f"git would need more time or memory for it than it has: {error}")
