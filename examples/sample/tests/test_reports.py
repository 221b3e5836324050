# -*- coding: utf-8 -*-
import textwrap
import os
from stockroom.reports.table import Table, Column
from stockroom.reports import summary
from stockroom.reports.html import Page
from stockroom import Stock, Item


def make():
    return Stock([Item('bolt', 5, 100), Item('glue', 350, 14)])


def test_a_table_lines_up():
    table = Table([Column('a'), Column('long', right=True)])
    table.add('xyz', 1)
    assert table.render() == 'a    long\n---  ----\nxyz     1'


def test_the_overview_ends_with_the_sums():
    last = summary.overview(make()).splitlines()[-1]
    assert last == '%s kinds, %s pieces, %s in all' % (2, 114, '54.00')


def test_shortages_by_name():
    assert summary.shortages(make(), 20) == 'short of glue'
    assert summary.shortages(make(), 1) == 'nothing is short'


def test_a_page_escapes_its_title():
    page = Page(make())
    page.title = 'Nuts & bolts'
    assert page.render().startswith('<h1>Nuts &amp; bolts</h1>')
    assert '<td>1 dozen and 2</td>' in page.render()
