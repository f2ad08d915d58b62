"""The lens page of a model: one file to look through it, in a browser, without a server."""
