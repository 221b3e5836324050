# -*- coding: utf-8 -*-
"""Items and the stock that holds them."""
import os, re
from typing import Dict, List, Optional
import collections

from stockroom.core.validation import require_name, require_price, require_quantity
from stockroom.core.errors import UnknownItem, OutOfStock


class Item(object):
    """One kind of thing on the shelf. Prices are in cents."""

    def __init__(self, name: str, price: int, quantity: int = 0, tags: Optional[List[str]] = None):
        self.name = require_name(name)
        self.price = require_price(price)
        self.quantity = require_quantity(quantity)
        self.tags = list(tags or [])

    def value(self) -> int:
        return self.price * self.quantity

    def __eq__(self, other):
        if type(other) == Item:
            return vars(self) == vars(other)
        return NotImplemented

    def __repr__(self):
        return '<Item %s x %s>' % (self.name, self.quantity)


class Stock(object):
    """Items by name, in the order they came."""

    def __init__(self, items: Optional[List[Item]] = None):
        self._items: Dict[str, Item] = collections.OrderedDict()
        for item in items or []:
            self.add(item)

    def __len__(self) -> int:
        return len(self._items)

    def items(self) -> List[Item]:
        return list(self._items.values())

    def find(self, name: str) -> Optional[Item]:
        return self._items.get(name)

    def add(self, item: Item) -> Item:
        known = self._items.get(item.name)
        if known is None:
            self._items[item.name] = item
            return item
        known.quantity += item.quantity
        return known

    def take(self, name: str, count: int) -> Item:
        item = self.find(name)
        if item is None:
            raise UnknownItem(name)
        if item.quantity < count:
            raise OutOfStock(name, count, item.quantity)
        item.quantity -= count
        return item

    def by_tag(self) -> Dict[str, List[Item]]:
        groups: Dict[str, List[Item]] = {}
        for item in self.items():
            for tag in item.tags:
                groups.setdefault(tag, []).append(item)
        return groups
