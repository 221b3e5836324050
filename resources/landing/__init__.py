"""A queued patch becomes a commit on a branch: one lander at a time, on exactly the judged tree."""
