"""What moderators are asked to look at: the messages in their channel, and the buttons under them."""
