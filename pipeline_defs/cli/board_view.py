"""The board as a rich renderable: fits its terminal, and says less rather than wrap."""

from collections.abc import Iterable

from rich.console import ConsoleDimensions, Group, RenderableType
from rich.table import Table
from rich.text import Text

from pipeline_defs.cli.board import WS_ENDED, Board, Line, TaskCard, WorkstreamCard
from pipeline_defs.cli.output import STYLES, count

BAR = 12
NAME = 26
ACTIVE = frozenset({"running", "validating", "retrying"})
SPARE_LINES = 4
"""Header, the line between the tables, and room for the cursor."""


def render_line(line: Line) -> Text:
    """An event that stays above the board."""
    text = Text(f"{clock(line.seconds)}  ", style="dim")
    text.append(line.name, style="bold")
    return text.append(f"  {line.text}", style="yellow" if line.bad else "green")


def render(board: Board, size: ConsoleDimensions, stopping: bool) -> RenderableType:
    """The board as it stands, in at most as many lines as the terminal has."""
    active = [task for task in board.tasks.values() if task.state in ACTIVE]
    room = max(size.height - SPARE_LINES, 4)
    streams = list(board.streams.values())
    task_room = min(len(active), max(room // 2, room - len(streams)))
    return Group(
        _header(board, stopping),
        _streams(streams, room - task_room),
        Text(),
        _tasks(board, active, task_room),
    )


def clock(seconds: float) -> str:
    """`0:07`, `12:31`, `1:02:03`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours}:{minutes_left:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _header(board: Board, stopping: bool) -> Text:
    done = sum(task.state == "completed" for task in board.tasks.values())
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(board.plan, style="bold")
    text.append(f"  {done} of {len(board.tasks)} tasks")
    judged = board.gates["PASSED"] + board.gates["FAILED"]
    text.append(f"  {count(judged, 'gate')}")
    if board.gates["FAILED"]:
        text.append(f" ({board.gates['FAILED']} failed)", style="yellow")
    text.append(f"  {clock(board.elapsed)}", style="bold")
    if stopping:
        text.append("  stopping", style="bold yellow")
    return text


def _streams(streams: list[WorkstreamCard], room: int) -> Table:
    table = _table()
    shown, hidden = _fitting(streams, room, lambda one: one.state in WS_ENDED)
    for one in shown:
        total = len(one.tasks)
        detail = f"gate {one.gate.removeprefix('gate ')}" if one.gate else one.reason
        table.add_row(
            Text(one.name, style="bold"),
            Text(one.state, style=STYLES.get(one.state, "dim")),
            _bar(one.done, total),
            f"{one.done}/{total}",
            Text(" ".join(detail.split()), style="dim"),
        )
    if hidden:
        table.add_row(Text(f"and {hidden} more", style="dim"), "", "", "", "")
    return table


def _tasks(board: Board, active: list[TaskCard], room: int) -> Table:
    table = _table()
    shown, hidden = _fitting(active, room, lambda task: task.state != "running")
    for task in shown:
        running = task.state == "running"
        table.add_row(
            Text(task.name),
            Text(task.state, style=STYLES.get(task.state, "")),
            Text(f"attempt {task.attempt}", style="yellow" if task.attempt > 1 else ""),
            Text(clock(board.seconds_since(task.since)) if running and task.since else ""),
            Text(task.doing if running else "", style="dim"),
        )
    if hidden:
        table.add_row(Text(f"and {hidden} more", style="dim"), "", "", "", "")
    return table


def _table() -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=NAME)
    for _ in range(3):
        table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    return table


def _fitting(rows: Iterable, room: int, less_important) -> tuple[list, int]:  # pyright: ignore[reportMissingTypeArgument]
    """As many rows as fit, in their order, leaving out the less important ones first."""
    everything = list(rows)
    if len(everything) <= room:
        return everything, 0
    ranked = sorted(range(len(everything)), key=lambda n: bool(less_important(everything[n])))
    kept = sorted(ranked[: max(room - 1, 0)])
    return [everything[n] for n in kept], len(everything) - len(kept)


def _bar(done: int, total: int) -> Text:
    full = round(BAR * done / total) if total else 0
    text = Text("━" * full, style="green")
    return text.append("━" * (BAR - full), style="bright_black")
