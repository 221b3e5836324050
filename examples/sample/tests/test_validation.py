# -*- coding: utf-8 -*-
import re
import pytest
from stockroom.core import validation
from stockroom.core.errors import StockError
from typing import List


def bad_names() -> List[object]:
    return ['', 'Bolt', '9 bolts', None, 7]


@pytest.mark.parametrize('name', bad_names())
def test_a_bad_name_is_refused(name):
    with pytest.raises(StockError) as caught:
        validation.require_name(name)
    assert str(caught.value) == '%r is not a name' % (name,)


def test_a_quantity_is_a_whole_number():
    assert validation.is_quantity(0)
    assert not validation.is_quantity(-1)
    assert not validation.is_quantity(1.5)


def test_a_flag_is_not_a_quantity():
    assert not validation.is_quantity(True)


def test_a_price_is_whole_cents():
    assert validation.is_price(250)
    assert not validation.is_price(2.5)


def test_a_flag_is_not_a_price():
    assert not validation.is_price(True)


def test_numbers_as_people_write_them():
    assert validation.as_number('1 200') == 1200
    assert validation.as_number(7) == 7
