"""Names in tables that measures write and figures read; apart from both, so that neither depends on the other."""

BOX_COLUMNS = ("whisker_low", "q1", "median", "q3", "whisker_high")
"""The five numbers of a box plot."""
PARTS = ("previous", "attn", "mlp", "several", "composition")
"""Exclusive parts of the residual composition."""
POSITIONS = 12
"""Of the normalised depth axis."""
LABELS = {"context": 0, "class": 1}
"""Values of `label` in token label files; -1 (ignored) belongs to neither."""
IMAGE = "image"
"""The column of groups.csv that is no attribute."""
SCORES = ("pointing_game", "pixel_accuracy", "average_precision", "iou")
"""Segmentation scores."""
TOKEN_SETS = (
    "most_identifiable", "least_identifiable", "random", "class", "context", "outliers", "not_outliers",
)  # fmt: skip
"""Image tokens that are replaced together, see `classlens.ablation.sets`."""
DRAWS = 5
"""Of random sets of tokens."""
MODEL, TWIN = "model", "twin"
"""Whose a row is, where a table has a model's and its random twin's."""
