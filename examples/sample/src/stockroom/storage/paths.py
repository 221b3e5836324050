# -*- coding: utf-8 -*-
import sys
import os
from os import path


def ensure_folder(folder):
    if not path.isdir(folder):
        print('DEBUG making folder', folder)
        os.makedirs(folder)
    return folder


def backup_name(filename):
    stem, suffix = path.splitext(filename)
    return '{0}.backup{1}'.format(stem, suffix)
