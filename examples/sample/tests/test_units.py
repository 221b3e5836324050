# -*- coding: utf-8 -*-
from stockroom.core.units import in_words, euros, dozens, gross
import math


def test_cents_as_euros():
    assert euros(1205) == '12.05'


def test_dozens():
    assert dozens(30) == (2, 6)
    assert in_words(30) == '2 dozen and 6'
    assert in_words(24) == '2 dozen'
    assert in_words(0) == '0'


def test_gross():
    assert gross(300) == 2
