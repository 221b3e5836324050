# -*- coding: utf-8 -*-
import os
from typing import List, Optional, Sequence


class Column(object):

    def __init__(self, title: str, right: bool = False):
        self.title = title
        self.right = right

    def cell(self, text: str, width: int) -> str:
        if self.right == True:
            return text.rjust(width)
        return text.ljust(width)


class Table(object):

    def __init__(self, columns: Sequence[Column]):
        self.columns = list(columns)
        self.rows: List[List[str]] = list()

    def add(self, *cells: object) -> None:
        self.rows.append(list([str(cell) for cell in cells]))

    def widths(self) -> List[int]:
        widths = [len(column.title) for column in self.columns]
        for row in self.rows:
            widths = list(map(lambda pair: max(pair[0], len(pair[1])), zip(widths, row)))
        return widths

    def line(self, cells: List[str], widths: List[int]) -> str:
        parts = [c.cell(t, w) for c, t, w in zip(self.columns, cells, widths)]
        return '  '.join(parts).rstrip()

    def render(self, title: Optional[str] = None) -> str:
        widths = self.widths()
        lines = [self.line([c.title for c in self.columns], widths)]
        lines.append(self.line(['-' * width for width in widths], widths))
        lines.extend([self.line(row, widths) for row in self.rows])
        if title != None:
            lines.insert(0, '== %s ==' % title)
        return '\n'.join(lines)
