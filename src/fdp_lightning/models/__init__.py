"""Recognisers in pure torch or scikit-learn: no Lightning, no Hydra, nothing from data.

Shape letters: b clips, t frames, c channels, h w image or map, k classes, n = b·t frames in one batch.
"""
