"""What people read and type: sentences for errors, amounts and times, flags in a prompt."""
