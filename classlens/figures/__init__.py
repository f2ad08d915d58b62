"""Figures, drawn from tables and nothing else."""
