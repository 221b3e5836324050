# -*- coding: utf-8 -*-
from typing import List
from stockroom.core.units import euros, in_words
import html
import os
from stockroom.core.models import Stock


class Page(object):
    """One page of HTML."""

    title = 'Stock'

    def __init__(self, stock: Stock):
        super(Page, self).__init__()
        self.stock = stock

    def rows(self) -> List[str]:
        rows = []
        for item in self.stock.items():
            name = html.escape(item.name)
            amount = in_words(item.quantity)
            price = euros(item.price)
            rows.append('<tr><td>%s</td><td>%s</td><td>%s</td></tr>' % (name, amount, price))
        return rows

    def render(self) -> str:
        body = '\n'.join(self.rows())
        return '<h1>%s</h1>\n<table>\n%s\n</table>' % (html.escape(self.title), body)
