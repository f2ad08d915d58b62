"""Models of other libraries, brought to the timm model that computes the same (docs/models.md)."""
