"""Live progress of a run: a calm board on a terminal, one line per event anywhere else.

A thread of its own follows the state; the run itself knows nothing of it. While a run executes,
Dagster captures the descriptors 1 and 2, so progress goes to a copy of the original stderr.
"""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import IO

import click
from rich.console import Console, ConsoleDimensions
from rich.live import Live

from pipeline_defs.cli.board import Board, Line
from pipeline_defs.cli.board_view import render, render_line
from state.store import StateStore

TICK_SEC = 0.25


@contextmanager
def shown_progress(
    store: StateStore, run_id: str, stopping: Callable[[], bool], *, plain: bool
) -> Iterator[None]:
    """Show how a run stands for the duration of a block.

    Args:
        store: where to read it.
        run_id: the run.
        stopping: whether the run was asked to stop; said at once.
        plain: lines even on a terminal.
    """
    board = Board(store, run_id)
    with os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding="utf-8", errors="replace") as stream:
        view = PlainView(stream) if plain or not stream.isatty() else LiveView(stream)
        watcher = Watcher(board, view, stopping)
        watcher.start()
        try:
            yield
        finally:
            watcher.finish()
    if watcher.error is not None:
        click.echo(f"Progress could not be shown to the end: {watcher.error!r}", err=True)


class PlainView:
    """One line per event."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def __enter__(self) -> "PlainView":
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.flush()

    def show(self, board: Board, lines: list[Line], stopping: bool) -> None:
        """Print what happened."""
        del board, stopping
        for line in lines:
            self._stream.write(f"{line.seconds:6.1f}s  {line.name:<24}  {line.text}\n")
        self._stream.flush()

    def say(self, text: str) -> None:
        """Print a sentence."""
        self._stream.write(f"{text}\n")


class LiveView:
    """A board that is redrawn in place, and above it what is worth keeping."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._console = Console(file=stream, highlight=False)
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> "LiveView":
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, board: Board, lines: list[Line], stopping: bool) -> None:
        """Draw the board again."""
        # Measured on our own copy of the descriptor: rich would look at the captured ones.
        columns, rows = os.get_terminal_size(self._stream.fileno())
        self._console.size = ConsoleDimensions(columns or 80, rows or 24)
        for line in lines:
            if not line.minor:
                self._console.print(render_line(line), no_wrap=True, overflow="ellipsis")
        self._live.update(render(board, self._console.size, stopping), refresh=True)

    def say(self, text: str) -> None:
        """Print a sentence above the board."""
        self._console.print(text)


class Watcher(threading.Thread):
    """Follows the state until told to finish. An error ends the display, never the run."""

    def __init__(
        self, board: Board, view: PlainView | LiveView, stopping: Callable[[], bool]
    ) -> None:
        super().__init__(name="patchline-progress", daemon=True)
        self.error: Exception | None = None
        self._board, self._view, self._stopping = board, view, stopping
        self._done = threading.Event()

    def run(self) -> None:
        """Show, wait, show again; once more at the end, so that the last events are seen."""
        try:
            with ExitStack() as stack:
                stack.enter_context(self._view)
                told = False
                while True:
                    last = self._done.wait(TICK_SEC)
                    stopping = self._stopping()
                    if stopping and not told:
                        told = True
                        self._view.say("Stopping: no new task starts, running tools are killed.")
                    self._view.show(self._board, self._board.update(), stopping)
                    if last:
                        return
        except Exception as error:
            self.error = error

    def finish(self) -> None:
        """Show the end and come back when that is done."""
        self._done.set()
        self.join()
