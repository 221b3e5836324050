"""`machines`: the state machines as people and programs read them."""

import click

from pipeline_defs.cli.output import json_option, print_json
from state.machines import machines_document


@click.command()
@json_option
def machines(as_json: bool) -> int:
    """Print the state machines: states, transitions, what triggers them.

    Initial states are marked with `>`, final ones with `.`; transitions of our own with `+`.
    """
    document = machines_document()
    if as_json:
        print_json(document)
        return 0
    for name, machine in document.items():
        click.secho(f"{name} (table {machine['table']}, key {machine['key']})", bold=True)
        marks = {machine["initial"]: ">", **dict.fromkeys(machine["terminal"], ".")}
        click.echo("  " + "  ".join(f"{marks.get(one, '')}{one}" for one in machine["states"]))
        for one in machine["transitions"]:
            mark = "+" if one["extension"] else " "
            click.echo(
                f"  {mark} {one['from']} -> {one['to']}: {', '.join(one['triggers'])}"
                + ("" if one["severity"] == "info" else f" ({one['severity']})")
            )
        click.echo()
    return 0
