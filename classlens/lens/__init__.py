"""One model and some images, without a workflow: tokens, interventions, plots."""
