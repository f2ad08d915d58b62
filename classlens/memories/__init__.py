"""Memories of a branch: which classes its output weights promote, and whether tokens call up those of their class."""
