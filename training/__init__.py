"""Experiments: fitting at a cut, walk-forward, scores, tracking."""
