"""How Alembic runs our revisions: on the connection, and in the transaction, that it is given.

Only `state.migrations.runner` starts it: it holds the locks and takes the copy.
"""

from alembic import context

from state.upgrade import VERSIONS

context.configure(
    connection=context.config.attributes["connection"],
    version_table=VERSIONS.name,
    transactional_ddl=True,
)
context.run_migrations()
