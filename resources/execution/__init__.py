"""A run at work: its session, workers, tasks and workstreams, and taking it over."""
