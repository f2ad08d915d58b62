"""Look inside vision transformers through class embedding space."""

__version__ = "0.1.0"
