"""The audit history: anchored in repositories, and verified as a whole."""
