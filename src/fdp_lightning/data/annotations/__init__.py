"""Annotation tables: clips, action units, key frames, targets."""
