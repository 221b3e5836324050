# -*- coding: utf-8 -*-
"""`python -m stockroom.cli FILE [--short N] [--html]`: print a stock."""
import sys
import os
import argparse
from typing import List, Optional
from stockroom.storage import textfile
from stockroom.reports import summary
from stockroom.reports.html import Page


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog = 'stockroom')
    p.add_argument('file')
    p.add_argument('--short', type = int, default = None, metavar = 'N')
    p.add_argument('--html', action = 'store_true')
    return p


def main(argv: Optional[List[str]] = None) -> int:
    args = parser().parse_args(argv)
    if not os.path.exists(args.file):
        sys.stderr.write('%s: no such file\n' % args.file)
        return 2
    stock = textfile.load(args.file)
    if args.html == True:
        print(Page(stock).render())
    elif not args.short is None:
        print(summary.shortages(stock, args.short))
    else:
        print(summary.overview(stock))
    return 0


if __name__ == '__main__':
    sys.exit(main())
