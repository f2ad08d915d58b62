"""Direct logit attribution: the model's output as a sum over heads and tokens, MLPs, embedding and constants."""
