"""`python -m classlens` is the command `classlens`."""

from classlens.cli import app

app(prog_name="classlens")
