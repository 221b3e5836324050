"""Fuzzes `check_patch` for as long as you like: `python tests/hostile/fuzz.py --minutes 60`.

Prints the seed and number of the first case that goes wrong, and exits with 1; `--case N` runs that
one alone and shows its patch.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.hostile.fuzzing import Field


def main() -> int:
    """The command line; its exit code."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--minutes", type=float, default=1.0)
    options.add_argument("--seed", type=int, default=int(time.time()))
    options.add_argument("--case", type=int, help="run one case and show its patch")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        field = Field.make(Path(folder))
        if chosen.case is not None:
            patch, scope = field.patch(chosen.seed, chosen.case)
            print(patch.decode("utf-8", "backslashreplace"), f"\nscope {scope.change}")
            field.run(chosen.seed, chosen.case)
            print(dict(field.verdicts))
            return 0
        end = time.monotonic() + 60 * chosen.minutes
        number = 0
        while time.monotonic() < end:
            try:
                field.run(chosen.seed, number)
            except Exception:
                print(f"--seed {chosen.seed} --case {number} goes wrong", file=sys.stderr)
                raise
            number += 1
    print(f"{number} cases: {dict(field.verdicts.most_common())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
