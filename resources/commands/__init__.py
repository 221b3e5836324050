"""Commands of a plan: run to their end in an allowed environment, nothing of them left behind."""
