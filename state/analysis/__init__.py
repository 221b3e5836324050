"""Questions about the history: durations, rates, failures, overrides, stuck entities, the past.

Read-only, over the audit rows and the tables. A row of the audit whose `from_state` equals its
`to_state` (a hold, a release, a resume) is an act, not a change of state, and is left out of
everything but the overrides; a creation comes from the state `none`.
"""
