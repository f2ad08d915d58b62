"""`classlens look` and `classlens attention`: any model and some pictures, without a workflow."""
