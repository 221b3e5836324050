# -*- coding: utf-8 -*-
"""Who took what: a file that only grows."""
import time
import json
import os


class Journal(object):

    def __init__(self, filename):
        self.filename = filename

    def write(self, action, name, count):
        entry = dict(action=action, name=name, count=count)
        print('DEBUG journal', entry)
        handle = open(self.filename, 'a', encoding='utf-8')
        handle.write(json.dumps(entry, sort_keys=True) + '\n')
        handle.close()

    def entries(self, name=None):
        if not os.path.exists(self.filename):
            return list()
        handle = open(self.filename, encoding='utf-8')
        lines = handle.readlines()
        handle.close()
        found = [json.loads(line) for line in lines]
        if name == None:
            return found
        return [entry for entry in found if entry['name'] == name]

    def totals(self):
        totals = dict()
        for entry in self.entries():
            if not entry['name'] in totals.keys():
                totals[entry['name']] = 0
            totals[entry['name']] += entry['count']
        return totals
