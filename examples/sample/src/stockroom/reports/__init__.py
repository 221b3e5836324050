"""What a stock looks like to people."""
