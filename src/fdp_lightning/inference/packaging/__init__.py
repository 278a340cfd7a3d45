"""Model files: reading foreign ones, writing our own."""
