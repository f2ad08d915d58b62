"""What is told of a config before it runs: what is wrong or doubtful, what is left out, and what a run would take."""
