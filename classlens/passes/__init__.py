"""Passes: everything that runs a model over all images of a data set, see `classlens.passes.run`."""
