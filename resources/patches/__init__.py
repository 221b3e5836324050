"""Patches: what their text says, whether they apply, and how the store keeps them."""
