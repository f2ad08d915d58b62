"""Figures, drawn from tables and nothing else.

In all of them, `models` are names and labels in display order, `label` is what the one model is called.
"""
