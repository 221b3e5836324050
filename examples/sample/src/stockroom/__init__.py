# -*- coding: utf-8 -*-
"""A small inventory library."""
from stockroom.core.models import Item, Stock

__all__ = ["Item", "Stock"]
