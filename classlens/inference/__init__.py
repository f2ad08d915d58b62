"""Run models on images: what extraction, perturbation, explanations, faithfulness and probes share."""
