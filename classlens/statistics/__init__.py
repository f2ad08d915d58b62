"""Resampling, tests and corrections: what turns values per image into intervals and p-values."""
