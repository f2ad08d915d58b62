"""Names of the segmentation scores."""

SCORES = ("pointing_game", "pixel_accuracy", "average_precision", "iou")
