"""What members press and ask for, and how they are answered."""
