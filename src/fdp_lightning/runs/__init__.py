"""A run folder: its place, fingerprint, seal and pooled results."""
