"""What a block's map may be, as files and tables call it; imports nothing, since tables are made without torch."""

LENS, RIDGE, STEPS = "logit_lens", "ridge", "kl_steps"
"""None at all, so that the tuned lens is the logit lens; the ridge map; what KL steps made of it."""
