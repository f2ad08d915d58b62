"""Ablation: what changes in the model's answer when a head or some tokens are replaced by their mean over images."""
