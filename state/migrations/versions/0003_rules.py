"""More rules in the triggers; no table is altered.

Triggers are in no revision (see `state.migrations`). This one is there so that a database without
the new rules is brought up to date before anybody works with it. They are asked of what is written
from now on: rows that are there already stay as they are.

Revision: 0003
Revises: 0002
"""

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing but the triggers, which are put back afterwards."""
