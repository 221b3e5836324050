"""Items, quantities and the rules about them."""
