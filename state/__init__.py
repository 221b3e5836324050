"""The single source of truth: machines, store, audit, events. Knows no Dagster and no git."""
