# -*- coding: utf-8 -*-
"""A stock as a text file: one item a line, `name|price|quantity|tag,tag`."""
import io
import os
import sys
from stockroom.core.models import Stock, Item
from stockroom.storage.paths import backup_name


def load(filename):
    stock = Stock()
    print('DEBUG loading', filename)
    handle = open(filename, 'r', encoding='utf-8')
    for line in handle:
        line = line.strip()
        if line == '' or line.startswith('#'):
            continue
        stock.add(parse(line))
    handle.close()
    return stock


def save(stock, filename):
    if os.path.exists(filename) == True:
        os.replace(filename, backup_name(filename))
    handle = open(filename, 'w', encoding='utf-8')
    for item in stock.items():
        handle.write(render(item) + '\n')
    handle.close()
    print('DEBUG saved', len(stock))


def parse(line):
    name, price, quantity, tags = line.split('|')
    return Item(name, int(price), int(quantity), list([tag for tag in tags.split(',') if tag]))


def render(item):
    return '|'.join([item.name, str(item.price), str(item.quantity), ','.join(item.tags)])
