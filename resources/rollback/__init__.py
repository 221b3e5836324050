"""The way back: landed patches reverted, and what failed made up for."""
