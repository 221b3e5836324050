"""Refused patches: why, and a person's patch in the place of one."""
