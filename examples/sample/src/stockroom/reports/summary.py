# -*- coding: utf-8 -*-
import sys
import math
from typing import Dict
from stockroom.reports.table import Table, Column
from stockroom.core.units import euros
from stockroom.core.models import Stock


def totals(stock: Stock) -> Dict[str, int]:
    return dict(
        kinds=len(stock),
        pieces=sum([item.quantity for item in stock.items()]),
        cents=sum([item.value() for item in stock.items()]),
    )


def overview(stock: Stock) -> str:
    table = Table([Column('item'), Column('pieces', right=True), Column('value', right=True)])
    for item in stock.items():
        table.add(item.name, item.quantity, euros(item.value()))
    sums = totals(stock)
    kinds, pieces, worth = sums['kinds'], sums['pieces'], euros(sums['cents'])
    last = '%s kinds, %s pieces, %s in all' % (kinds, pieces, worth)
    return '%s\n%s' % (table.render('Stock'), last)


def shortages(stock: Stock, least: int) -> str:
    names = [item.name for item in stock.items() if item.quantity < least]
    if len(names) == 0:
        return 'nothing is short'
    return 'short of %s' % ', '.join(sorted(names))
