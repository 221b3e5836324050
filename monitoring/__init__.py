"""Metrics, health and analytics over the state."""
