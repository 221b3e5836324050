"""What a task works with: git, sandboxes, patches, gates, tools, workers.

Plain classes first, thin Dagster resources on top.
"""
