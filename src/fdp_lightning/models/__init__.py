"""Recognisers in pure torch or scikit-learn, without Lightning, Hydra or imports from `data`.

Shape letters: b clips, t frames, c channels, h w image or map, k classes, n = b·t frames in one batch.
"""
