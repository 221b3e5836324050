"""Where a stock is kept between two runs."""
