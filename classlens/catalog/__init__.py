"""What the workflow can do: every analysis and every other job, declared once. Imports nothing heavy."""
