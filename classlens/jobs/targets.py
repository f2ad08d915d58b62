"""What `all` makes: the figures and tables of the analyses that the config's models run."""

from __future__ import annotations

from classlens.config import Config

ANALYSES = {
    "identifiability_evolution": "identifiability",
    "identifiability_comparison": "identifiability",
    "identifiability_rates": "identifiability",
    "published_comparison": "identifiability",
    "logit_increment": "logit_increment",
    "class_building": "class_building",
    "class_vs_context": "class_vs_context",
    "class_context_change": "class_vs_context",
    "class_value_agreement": "memories",
    "key_value_agreement": "memories",
    "key_value_agreement_classes": "memories",
    "memory_comparison": "memories",
    "memory_composition": "memories",
    "value_vectors": "memories",
    "agreement_vs_accuracy": "agreement_vs_accuracy",
    "attention_perturbation": "attention_perturbation",
    "token_perturbation": "token_perturbation",
    "heatmaps": "heatmaps",
    "removal_curves": "faithfulness",
    "faithfulness_auc": "faithfulness",
    "segmentation_scores": "segmentation",
    "linear_probes": "linear_probes",
}
"""Which analysis a figure or table shows."""

COMPARISONS = (
    "identifiability_evolution",
    "identifiability_comparison",
    "identifiability_rates",
    "logit_increment",
    "class_context_change",
    "class_value_agreement",
    "key_value_agreement",
    "key_value_agreement_classes",
    "memory_comparison",
    "memory_composition",
    "value_vectors",
    "agreement_vs_accuracy",
    "attention_perturbation",
    "token_perturbation",
    "faithfulness_auc",
    "segmentation_scores",
)
"""Tables that put models side by side."""
SHARED_FIGURES = (
    "identifiability_evolution",
    "identifiability_comparison",
    "logit_increment",
    "class_value_agreement",
    "key_value_agreement",
    "memory_comparison",
    "memory_composition",
    "agreement_vs_accuracy",
    "segmentation_scores",
)
MODEL_FIGURES = ("class_building", "class_vs_context", "heatmaps", "removal_curves", "linear_probes")
PUBLISHED_MODELS = (
    "vit_b_32",
    "vit_b_16",
    "vit_large_16",
    "vit_miil_16",
    "vit_cifar_16",
    "deit_ensemble_16",
    "vit_gap_16",
)
"""Names in config/paper.yaml of the models with published values."""
TABLES = (
    "identifiability_rates",
    "class_context_change",
    "value_vectors",
    "attention_perturbation",
    "token_perturbation",
    "faithfulness_auc",
)
"""Tables that no figure is drawn from."""


def wanted_figures(config: Config) -> list[str]:
    """Return the names of the figures of `all`: those that the config lists, of analyses that some model runs."""
    shared = [name for name in SHARED_FIGURES if config.shows(name) and config.runs(ANALYSES[name])]
    own = [f"{name}_{model}" for name in MODEL_FIGURES if config.shows(name) for model in config.runs(ANALYSES[name])]
    return [*shared, *own]


def wanted_tables(config: Config) -> list[str]:
    """Return the names of the tables of `all` that no figure is drawn from."""
    published = ["published_comparison"] if any(name in PUBLISHED_MODELS for name in config.models) else []
    return [name for name in (*TABLES, *published) if config.runs(ANALYSES[name])]
