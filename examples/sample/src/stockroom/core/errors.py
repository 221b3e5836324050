# -*- coding: utf-8 -*-
import sys
import os


class StockError(Exception):
    """Anything wrong with the stock."""

    def __init__(self, message, name=None):
        super(StockError, self).__init__(message)
        self.name = name

    def __str__(self):
        text = super(StockError, self).__str__()
        if self.name is None:
            return text
        return '%s: %s' % (self.name, text)


class UnknownItem(StockError):

    def __init__(self, name):
        super(UnknownItem, self).__init__('no such item', name)


class OutOfStock(StockError):

    def __init__(self, name, wanted, present):
        super(OutOfStock, self).__init__('%s wanted, %s present' % (wanted, present), name)
