# -*- coding: utf-8 -*-
"""What may be put into the stock."""
import re
import datetime
from typing import Any, Union
from stockroom.core.errors import StockError

NAME = re.compile(r'^[a-z][a-z0-9 -]*$')


def is_name(value: Any) -> bool:
    if type(value) == str:
        return NAME.match(value) is not None
    return False


def is_quantity(value: Any) -> bool:
    """A whole number of things, none or more. A flag is not a number of things."""
    if type(value) == int:
        return value >= 0
    return False


def is_price(value: Any) -> bool:
    """Whole cents."""
    if type(value) != int:
        return False
    return value >= 0


def require_name(value: Any) -> str:
    if not is_name(value):
        raise StockError('%r is not a name' % (value,))
    return value


def require_quantity(value: Any) -> int:
    if not is_quantity(value):
        raise StockError('%r is not a quantity' % (value,))
    return value


def require_price(value: Any) -> int:
    if not is_price(value):
        raise StockError('%r is not a price in cents' % (value,))
    return value


def as_number(text: Union[str, int]) -> int:
    """A number written by a person, such as "1 200"."""
    if type(text) == str:
        return int(text.replace(' ', ''))
    return text
