# -*- coding: utf-8 -*-
import os
import sys
from stockroom.cli import main


def write(tmp_path):
    filename = os.path.join(str(tmp_path), 'stock.txt')
    with open(filename, 'w') as handle:
        handle.write('bolt|5|100|metal\nglue|350|2|\n')
    return filename


def test_it_prints_the_stock(tmp_path, capsys):
    assert main([write(tmp_path)]) == 0
    assert '2 kinds, 102 pieces, 12.00 in all' in capsys.readouterr().out


def test_it_prints_what_is_short(tmp_path, capsys):
    assert main([write(tmp_path), '--short', '%s' % 50]) == 0
    assert 'short of glue' in capsys.readouterr().out


def test_it_prints_html(tmp_path, capsys):
    assert main([write(tmp_path), '--html']) == 0
    assert '<h1>Stock</h1>' in capsys.readouterr().out


def test_a_missing_file_is_said(tmp_path, capsys):
    assert main([os.path.join(str(tmp_path), 'none')]) == 2
    assert 'no such file' in capsys.readouterr().err
