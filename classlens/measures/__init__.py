"""Measures of one model, computed from its layer files."""
