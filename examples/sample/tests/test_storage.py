# -*- coding: utf-8 -*-
import sys
import os
from stockroom.storage import textfile, csvfile
from stockroom.storage.journal import Journal
from stockroom.storage.paths import ensure_folder, backup_name
from stockroom import Stock, Item


def make():
    return Stock([Item('bolt', 5, 100, ['metal']), Item('glue', 350, 2)])


def test_a_saved_stock_loads_again(tmp_path):
    filename = os.path.join(str(tmp_path), 'stock.txt')
    textfile.save(make(), filename)
    assert textfile.load(filename).items() == make().items()


def test_saving_twice_keeps_a_backup(tmp_path):
    filename = os.path.join(str(tmp_path), 'stock.txt')
    textfile.save(make(), filename)
    textfile.save(Stock(), filename)
    assert len(textfile.load(filename)) == 0
    assert len(textfile.load(backup_name(filename))) == 2


def test_comments_and_empty_lines_are_skipped(tmp_path):
    filename = os.path.join(str(tmp_path), 'stock.txt')
    with open(filename, 'w') as handle:
        handle.write('# stock\n\nbolt|5|1|\n')
    assert textfile.load(filename).items() == [Item('bolt', 5, 1)]


def test_csv_there_and_back(tmp_path):
    filename = os.path.join(str(tmp_path), 'stock.csv')
    csvfile.export(make(), filename)
    assert [i.name for i in csvfile.read(filename).items()] == list(['bolt', 'glue'])


def test_the_journal_grows_and_adds_up(tmp_path):
    journal = Journal(os.path.join(str(tmp_path), 'journal'))
    assert journal.entries() == []
    journal.write('take', 'bolt', 3)
    journal.write('take', 'bolt', 4)
    journal.write('take', 'glue', 1)
    assert journal.totals() == dict(bolt=7, glue=1)
    assert len(journal.entries('bolt')) == 2


def test_a_folder_is_made_once(tmp_path):
    folder = os.path.join(str(tmp_path), 'a', 'b')
    assert ensure_folder(folder) == ensure_folder(folder)
    assert os.path.isdir(folder)
