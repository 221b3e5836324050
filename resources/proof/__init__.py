"""Is a commit what it says? Everything that its trailers name is computed anew."""
