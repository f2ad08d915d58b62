"""The tuned lens: an affine map per block, so that the head reads there what the last block will say."""
