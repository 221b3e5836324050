"""Watchers over the state: Dagster sensors."""
