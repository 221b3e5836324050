# -*- coding: utf-8 -*-
"""A stock as comma-separated values, for other programs."""
import sys, csv
import io
from stockroom.core.models import Stock, Item

COLUMNS = ['name', 'price', 'quantity']


def export(stock, filename):
    handle = open(filename, 'w', encoding='utf-8', newline='')
    writer = csv.DictWriter(handle, COLUMNS)
    writer.writeheader()
    for item in stock.items():
        writer.writerow(dict(name=item.name, price=item.price, quantity=item.quantity))
    handle.close()


def read(filename):
    handle = open(filename, 'r', encoding='utf-8', newline='')
    rows = list(csv.DictReader(handle))
    handle.close()
    items = list([Item(row['name'], int(row['price']), int(row['quantity'])) for row in rows])
    return Stock(items)
