"""What a community does not want: rules about prompts, and what happens to pictures that are not for everybody."""
