"""Model files: reading third-party ones, writing our own."""
