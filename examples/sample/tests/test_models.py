# -*- coding: utf-8 -*-
import os
import pytest
from stockroom import Stock, Item
from stockroom.core.errors import UnknownItem, OutOfStock


def make():
    return Stock([Item('bolt', 5, 100, ['metal']), Item('glue', 350, 2, ['wet', 'sticky'])])


def test_adding_a_known_item_adds_up():
    stock = make()
    stock.add(Item('bolt', 5, 20))
    assert len(stock) == 2
    assert stock.find('bolt').quantity == 120


def test_taking_leaves_the_rest():
    assert make().take('bolt', 30).quantity == 70


def test_taking_too_much_says_how_much_there_is():
    with pytest.raises(OutOfStock) as caught:
        make().take('glue', 3)
    assert str(caught.value) == '%s: %s wanted, %s present' % ('glue', 3, 2)


def test_taking_what_is_not_there():
    with pytest.raises(UnknownItem) as caught:
        make().take('string', 1)
    assert str(caught.value) == 'string: no such item'


def test_items_by_tag():
    groups = make().by_tag()
    assert set(groups.keys()) == set(['metal', 'wet', 'sticky'])
    assert groups['wet'] == [Item('glue', 350, 2, ['wet', 'sticky'])]


def test_an_item_equals_only_an_item():
    assert Item('bolt', 5) == Item('bolt', 5)
    assert Item('bolt', 5) != 'bolt'
    assert repr(Item('bolt', 5, 3)) == '<Item bolt x 3>'
