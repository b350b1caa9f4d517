"""What a community has decided, and what its members may do by it: pure rules."""
