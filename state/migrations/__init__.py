"""How a database gets from any earlier schema to the present one (design section 2).

A revision is a file in `versions/`, made once and never changed afterwards: it says what the schema
was, not what it is now. The first lines of a new one:

    from alembic import command
    from state.migrations.runner import configuration
    command.revision(configuration(), "what it does", rev_id="0004")

Then its number goes into `state.upgrade.REVISIONS`. Triggers are in no revision: they are made from
the state machines, taken away before each revision and put back when the last one is done.
"""
