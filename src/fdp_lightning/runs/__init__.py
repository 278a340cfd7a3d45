"""Run folders: their paths, fingerprints, seals and pooled results."""
