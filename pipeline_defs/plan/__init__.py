"""The plan: model, loader and graph. Knows no Dagster."""
