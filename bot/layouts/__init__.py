"""What a message looks like: cards, panels, lists and tables. Pure, but for the chart."""
