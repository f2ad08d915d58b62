"""What the paper published of its models' last block. Imports nothing, so that planning can ask."""

QUANTITIES = ("identifiable_tokens_percent", "images_with_identifiable_percent", "accuracy_percent")
PUBLISHED = {
    "vit_b_32": (60.73, 95.58, 81.71),
    "vit_b_16": (67.04, 97.45, 85.69),
    "vit_large_16": (72.58, 97.12, 86.00),
    "vit_miil_16": (78.52, 95.52, 86.26),
    "vit_cifar_16": (90.35, 98.80, 92.00),
    "deit_ensemble_16": (79.64, 96.26, 84.97),
    "vit_gap_16": (52.09, 98.53, 84.13),
    "vit_b_32-random": (0.066, 1.27, None),
    "vit_b_16-random": (0.056, 2.18, None),
}
"""Vilas et al. 2023 (arXiv 2310.18969): the last block on 4,550 images of ImageNet-S, or 500 of CIFAR-100. Models go
by the names of config/paper.yaml."""
