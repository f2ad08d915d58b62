"""Linear probes: what a ridge classifier can read of the class from one token's features."""
