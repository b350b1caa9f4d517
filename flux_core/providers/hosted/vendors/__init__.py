"""One file per vendor: its models and prices, its bounds, its wire format."""
