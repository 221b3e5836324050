# -*- coding: utf-8 -*-
"""Money and measures for people."""
import string
import math
from typing import List, Tuple


def euros(cents: int) -> str:
    return '{0}.{1:02d}'.format(cents // 100, cents % 100)


def dozens(count: int) -> Tuple[int, int]:
    return count // 12, count % 12


def in_words(count: int) -> str:
    whole, rest = dozens(count)
    parts: List[str] = []
    if whole:
        parts.append('%s dozen' % whole)
    if rest or not parts:
        parts.append('%s' % rest)
    return ' and '.join(parts)


def gross(count: int) -> int:
    """Dozens of dozens."""
    return count // 144
