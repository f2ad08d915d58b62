"""What files call the sites that are read of a block."""

SITE_NAMES = {
    "residual": "the block's output",
    "attn": "what the attention branch adds to the residual stream",
    "mlp": "what the MLP branch adds to the residual stream",
}
