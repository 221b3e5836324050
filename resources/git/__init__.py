"""The one gateway to git: objects, refs, merges and people's checkouts."""
