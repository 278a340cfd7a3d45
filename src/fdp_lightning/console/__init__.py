"""What is read from and shown on the command line."""
