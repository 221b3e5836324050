"""The generated pages by file name."""

from state.handbook.machines_page import machines_page
from state.handbook.schema_page import schema_page
from state.schema import METADATA


def generated_pages() -> dict[str, str]:
    """File name in `docs/` -> content."""
    return {
        "STATE_MACHINES.md": machines_page(),
        "DATABASE_SCHEMA.md": schema_page(METADATA),
    }
