"""FDP in pure torch: no Lightning, no Hydra, nothing from data.

Shape letters: b clips, t frames, c channels, h w picture or map, k classes, n = b·t frames in one batch.
"""
