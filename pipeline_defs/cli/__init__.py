"""The patchline command line."""
