"""The two reference pages that are generated from the state layer's own data.

`make docs` writes `docs/STATE_MACHINES.md` and `docs/DATABASE_SCHEMA.md` (design section 2).
"""
