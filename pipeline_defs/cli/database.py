"""`db`: the database's schema, and the event files that are made from the database."""

from dataclasses import asdict

import click

from pipeline_defs.cli.output import count, json_option, print_json
from state import upgrade as schema
from state.home import Home


@click.group()
def db() -> None:
    """Bring the database up to date, check it, or mend the event files by it."""


@db.command()
@json_option
def upgrade(as_json: bool) -> int:
    """Bring the database to this version of patchline; make it when there is none.

    End all runs first. A SQLite file is copied before it is altered. Triggers that are missing or
    changed are put back. Exit code 0 when the database is up to date, 3 when it cannot be.
    """
    from pipeline_defs.preflight import check_home

    home = Home.find()
    if home.database_url == Home.at(home.root).database_url:
        check_home(home)
        home.create()
    done = schema.upgrade(home.database_url)
    if as_json:
        copy = None if done.copy is None else str(done.copy)
        print_json(
            {
                "database": done.database,
                "from": done.before,
                "to": done.after,
                "revisions": list(done.revisions),
                "copy": copy,
                "restored": list(done.restored),
            }
        )
        return 0
    if done.revisions:
        click.echo(f"{done.database}: from {done.before or 'nothing'} to {done.after}.")
    else:
        click.echo(f"{done.database}: at {done.after} already.")
    if done.copy is not None:
        click.echo(f"The file as it was is kept: {done.copy}")
    for name in done.restored:
        click.echo(f"Put back: trigger {name}")
    return 0


@db.command()
@json_option
def check(as_json: bool) -> int:
    """Compare the database with the tables, rules and triggers that it should have.

    Nothing is changed. Exit code 0 when all is as it should be, 1 when something differs, 3 when
    there is no database or it is of another version.
    """
    drifts = schema.check(Home.find().database_url)
    if as_json:
        print_json({"schema": schema.HEAD, "drift": [asdict(one) for one in drifts]})
        return 1 if drifts else 0
    if not drifts:
        click.echo(f"The database is as it should be (schema {schema.HEAD}).")
        return 0
    for one in drifts:
        click.echo(f"{one.problem} {one.kind}: {one.name}")
        if one.problem == "changed":
            click.echo(f"  should be: {one.expected}\n  is: {one.found}")
        click.echo(f"  {one.mend}")
    click.echo(f"{count(len(drifts), 'difference')}.")
    return 1


@db.command("repair-events")
@json_option
def repair_events(as_json: bool) -> int:
    """Compare the event files with the database line by line, and write anew what differs.

    Runs may go on meanwhile. A file that differs is kept beside the new one, with the ending .old;
    full files that were deleted stay so. Exit code 0 when the files are as they should be, 1 when
    the database itself is damaged, 3 when there is no database or a file cannot be written.
    """
    from pipeline_defs.cli.stores import required_store
    from state.event_repair import repair

    with required_store(Home.find()) as store:
        mended = repair(store.events)
        current = store.events.path
    if as_json:
        print_json({"events": str(current), "mended": [str(one) for one in mended]})
        return 0
    for one in mended:
        click.echo(f"Written anew: {one}")
    if not mended:
        click.echo(f"The event files are as they should be: {current}")
    return 0
