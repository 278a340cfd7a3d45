"""A trained model away from its run: its file, and what it says of somebody's own footage."""
