"""The studio: jobs, fair turns, credits, pictures and the machines that draw them. Knows nothing of Discord."""
