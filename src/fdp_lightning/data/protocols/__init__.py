"""Protocols: classes, splits, folds, published counts, leak guard."""
