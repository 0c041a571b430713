"""What is tested of the client, and of the commands that talk to an agent."""
