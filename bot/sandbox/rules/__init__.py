"""Discord's rules as pure functions: a payload goes in, a list of violations comes out."""
