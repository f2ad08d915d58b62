"""Read what the workflow wrote under results/: arrays by model, site and block, and tidy tables."""

from __future__ import annotations

import difflib
import shlex
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from classlens.arrays import Array
from classlens.catalog.analyses import ANALYSES, STACKED
from classlens.catalog.kinds import ATTENTION_KINDS, TOKEN_KINDS
from classlens.catalog.methods import METHODS
from classlens.configfile import find_config
from classlens.csvfile import read_table
from classlens.errors import InputError
from classlens.h5 import h5py
from classlens.measures.layers import token_groups
from classlens.shipped import workflow_folder
from classlens.terms import SITES, block_name

Block = int | None

SNAKEFILE = workflow_folder() / "Snakefile"
NOT_MODELS = ("datasets", "tables", "figures")


class Results:
    """The results of a run, by the names of its config.

    N images in the order of `stimuli`, T tokens (prefix tokens first), P image tokens, B blocks, H heads, C classes.
    All indices count from 0. Where a method takes `block`, -1 is the last one and None (the default) stacks all of
    them along a new first axis.

    Args:
        folder: the folder that holds results, `results` in a run's working directory.

    Raises:
        InputError: there is no such folder. Every method raises it for what is missing, and says how to make it.
    """

    def __init__(self, folder: Path | str = "results") -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise InputError(f"there is no folder {self.folder}; run snakemake first, or point to a run's results/")

    @property
    def models(self) -> list[str]:
        """Names of the models that have layer files, random twins among them."""
        found = {path.parent.name for path in self.folder.glob("*/layers")}
        return sorted(found - set(NOT_MODELS))

    @property
    def datasets(self) -> list[str]:
        """Names of the data sets."""
        return sorted(path.parent.name for path in self.folder.glob("datasets/*/stimuli.csv"))

    def depth(self, model: str) -> int:
        """Return B."""
        return len(list(self._model(model).glob("layers/block_*.h5")))

    def stimuli(self, dataset: str, split: str = "evaluation") -> pd.DataFrame:
        """Return the images of a split: image, class_index, class_id, class_name, file, sha256."""
        text = dict.fromkeys(("class_id", "class_name", "file", "sha256"), str)
        table = pd.read_csv(self._there(f"datasets/{dataset}/stimuli.csv"), dtype=text, keep_default_na=False)
        return table[table["split"] == split].drop(columns="split").reset_index(drop=True)

    def class_index(self, model: str) -> Array:
        """Return the correct class of each image (N)."""
        return self._read(f"{model}/output.h5", "class_index")

    def correct(self, model: str) -> Array:
        """Tell for each image whether the model's strongest class is the correct one (N)."""
        return self._read(f"{model}/output.h5", "correct")

    def predictions(self, model: str) -> Array:
        """Return the model's five strongest classes, strongest first (N, 5)."""
        return self._read(f"{model}/output.h5", "top5")

    def token_label(self, model: str) -> Array:
        """Return for each image token 1 (class), 0 (context) or -1 (ignored) (N, P)."""
        return self._read(f"{model}/token_labels.h5", "label")

    def class_fraction(self, model: str) -> Array:
        """Return the share of class pixels of each image token (N, P)."""
        return self._read(f"{model}/token_labels.h5", "class_fraction")

    def rank(self, model: str, site: str = "residual", block: Block = None) -> Array:
        """Return how many classes have a larger logit than the correct one: (N, T), or (B, N, T)."""
        return self._layers(model, f"{self._site(site)}/rank", block)

    def logit(self, model: str, site: str = "residual", block: Block = None) -> Array:
        """Return the correct class's logit: (N, T), or (B, N, T)."""
        return self._layers(model, f"{self._site(site)}/logit", block)

    def top5(self, model: str, site: str = "residual", block: Block = None) -> Array:
        """Return the five classes with the largest logits, largest first: (N, T, 5), or (B, N, T, 5)."""
        return self._layers(model, f"{self._site(site)}/top5", block)

    def identifiability(self, model: str, site: str = "residual", block: Block = None) -> Array:
        """Return 1 - rank / C: (N, T), or (B, N, T)."""
        return 1 - self.rank(model, site, block) / self.num_classes(model)

    def norm(self, model: str, block: Block = None) -> Array:
        """Return the Euclidean norm of each block's output: (N, T), or (B, N, T)."""
        return self._layers(model, "residual/norm", block)

    def keys(self, model: str, branch: str, block: Block = None) -> Array:
        """Return the indices of the five largest key coefficients, largest first: (N, T, 5), or (B, N, T, 5)."""
        return self._layers(model, f"keys/{branch}", block)

    def memories(self, model: str, name: str, branch: str, block: Block = None) -> Array:
        """Return `agreement`, `agreement_random`, `composition` ((N, T) bool) or `class_value` (C); or all blocks'."""
        return self._blocks(model, f"memories/{branch}", name, block)

    def attention_perturbation(self, model: str, kind: str, name: str = "rank") -> Array:
        """Return `rank` (N, T) or `correct` (N) under an attention perturbation."""
        return self._read(f"{model}/perturbation/attention_{kind}.h5", name)

    def token_perturbation(self, model: str, kind: str, name: str = "rank") -> Array:
        """Return `rank` (N, T; -1 where removed) or `correct` (N) under a token perturbation."""
        return self._read(f"{model}/perturbation/tokens_{kind}.h5", name)

    def importance(self, model: str, method: str) -> Array:
        """Return the importance of each image token (N, P) by an explanation."""
        return self._read(f"{model}/explanation/{method}.h5", "importance")

    def maps(self, model: str, method: str) -> Array:
        """Return an explanation by block and head (N, B, H, P)."""
        return self._read(f"{model}/explanation/{method}.h5", "maps")

    def attribution(self, model: str, name: str = "heads") -> Array:
        """Return contributions to the correct class's output logit.

        Args:
            name: heads (N, B, H, T), attention_bias (N, B), mlp (N, B), embedding (N), constant (N), or logit (N), the
                sum of all others.
        """
        return self._read(f"{model}/attribution/logit.h5", name)

    def head_effects(self, model: str, name: str = "effect") -> Array:
        """Return what heads do to the correct class's output logit.

        Args:
            name: effect (N, B, H; the logit minus what it becomes with the head's output at its mean over images),
                direct (N, B, H; what the head itself writes into the logit), or logit (N).
        """
        return self._read(f"{model}/causes/heads.h5", name)

    def token_effects(self, model: str, name: str = "effect") -> dict[str, Array]:
        """Return the effects of replacing a set of image tokens after each block, by the name of the set.

        Args:
            name: effect (N, B; on the correct class's output logit, NaN where an image has no such tokens), or correct
                (N, B; whether the model is still right).
        """
        path = f"{model}/causes/tokens.h5"
        values, names = self._read(path, name), self._attribute(path, "sets")
        return {str(one): values[..., place] for place, one in enumerate(names)}

    def faithfulness(self, model: str, method: str) -> pd.DataFrame:
        """Return the removal curves of an explanation: direction, n_removed, accuracy."""
        self._model(model)
        return read_table(str(self._there(f"{model}/faithfulness/{method}.csv")))

    def probe(self, model: str, name: str, site: str = "residual", block: Block = None) -> Array:
        """Return `accuracy` (T) or `rank` (N, T) of a block's linear probes, or of all blocks'."""
        return self._blocks(model, f"probes/{self._site(site)}", name, block)

    def tuned_lens(self, model: str, name: str = "rank", block: Block = None) -> Array:
        """Return what the tuned lens reads from a block's output, or the block's map; of one block, or of all.

        Args:
            model: its name.
            name: rank (N, T), top5 (N, T, 5); kl and kl_logit_lens (N, T), the KL divergence in nats of the class
                distribution of the last block from that of the tuned and of the logit lens; weight (D, D) or bias (D).
            block: from 0.
        """
        return self._blocks(model, "tuned_lens", name, block)

    def num_classes(self, model: str) -> int:
        """Return C."""
        return int(self._attribute(f"{model}/output.h5", "num_classes"))

    def num_prefix_tokens(self, model: str) -> int:
        """Return T - P: where image tokens begin."""
        return int(self._attribute(f"{model}/output.h5", "num_prefix_tokens"))

    def has_class_token(self, model: str) -> bool:
        """Tell whether token 0 is [CLS]."""
        return bool(self._attribute(f"{model}/output.h5", "has_class_token"))

    def tokens(self, model: str, site: str = "residual", block: int = -1) -> pd.DataFrame:
        """Return one site of one block as a tidy frame, a row per image and token.

        Columns: image, token, group (`cls`, `prefix`, `image`), class_index, rank, logit, identifiability and, where
        the data set has masks, label (1 class, 0 context, -1 ignored, missing for prefix tokens).
        """
        rank, logit = self.rank(model, site, block), self.logit(model, site, block)
        images, tokens = rank.shape
        prefix = self.num_prefix_tokens(model)
        groups = token_groups(tokens, prefix, has_class_token=self.has_class_token(model))
        frame = pd.DataFrame(
            {
                "image": np.repeat(np.arange(images), tokens),
                "token": np.tile(np.arange(tokens), images),
                "group": np.tile(groups, images),
                "class_index": np.repeat(self.class_index(model), tokens),
                "rank": rank.ravel(),
                "logit": logit.ravel(),
                "identifiability": self.identifiability(model, site, block).ravel(),
            }
        )
        if (self.folder / model / "token_labels.h5").is_file():
            label = np.full((images, tokens), np.nan)
            label[:, prefix:] = self.token_label(model)
            frame["label"] = pd.array(label.ravel(), dtype="Float64").astype("Int8")
        return frame

    def table(self, name: str) -> pd.DataFrame:
        """Return a table, e.g. `identifiability_rates`."""
        return read_table(str(self._there(f"tables/{name}.csv")))

    def figure(self, name: str, suffix: str = "svg") -> Path:
        """Return the path of a figure."""
        return self._there(f"figures/{name}.{suffix}")

    def _layers(self, model: str, name: str, block: Block) -> Array:
        return self._blocks(model, "layers", name, block)

    def _blocks(self, model: str, folder: str, name: str, block: Block) -> Array:
        depth = self.depth(model)
        if block is None:
            return np.stack([self._blocks(model, folder, name, each) for each in range(depth)])
        if not -depth <= block < depth:
            raise InputError(f"{model} has the blocks 0 to {depth - 1}, no block {block}")
        return self._read(f"{model}/{folder}/{block_name(block % depth)}.h5", name)

    def _attribute(self, path: str, name: str) -> Any:
        self._model(path.partition("/")[0])
        with h5py.File(self._there(path)) as file:
            return file.attrs[name]

    def _read(self, path: str, name: str) -> Array:
        self._model(path.partition("/")[0])
        with h5py.File(self._there(path)) as file:
            if name not in file:
                raise InputError(f"{self.folder / path} has no {name}")
            return np.asarray(file[name])

    def _site(self, site: str) -> str:
        if site not in SITES:
            raise InputError(f"there is no site {site!r}; take one of {', '.join(SITES)}")
        return site

    def _model(self, model: str) -> Path:
        folder = self.folder / model
        if not folder.is_dir() or model in NOT_MODELS:
            close = difflib.get_close_matches(model, self.models, 1) or self.models
            raise InputError(f"{self.folder} has no model {model!r}; it has {', '.join(close) or 'none'}")
        return folder

    def _there(self, path: str) -> Path:
        found = self.folder / path
        if found.is_file():
            return found
        kind, name = Path(path).parent, Path(path).stem
        there = {other.stem for other in found.parent.glob(f"*{found.suffix}")}
        makeable = self._makeable(kind)
        if makeable is None or name in makeable:
            raise InputError(f"{found} is not there; make it with: {self._command(path)}")
        close = difflib.get_close_matches(name, {*there, *makeable}, 3)
        advice = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(sorted(there)) or 'none'}"
        made = [one for one in close[:1] if one not in there]
        how = f" Make {made[0]} with: {self._command(str(kind / (made[0] + found.suffix)))}" if made else ""
        raise InputError(f"{found} is not there; {advice}{how}")

    def _makeable(self, folder: Path) -> set[str] | None:
        """Return the names that a run can make in a folder, None where they are not known."""
        if folder.name in ("explanation", "faithfulness"):
            return set(METHODS)
        if folder.name == "perturbation":
            return {f"attention_{kind}" for kind in ATTENTION_KINDS} | {f"tokens_{kind}" for kind in TOKEN_KINDS}
        tables = [analysis.table_path(table) for analysis in ANALYSES.values() for table in analysis.tables.values()]
        paths = {
            "tables": [
                *tables,
                *(f"results/tables/{name}.csv" for name in (*STACKED, "overview", "published_comparison")),
            ],
            "figures": [f"{analysis.figure_stem}.svg" for analysis in ANALYSES.values() if analysis.figure],
        }
        if str(folder) not in paths:
            return None
        own = [Path(path).stem for path in paths[str(folder)] if Path(path).parent.name == str(folder)]
        return {name.format(model=model) for name in own for model in self.models or ["MODEL"]}

    def _command(self, path: str) -> str:
        """Return what makes a result, wherever it is typed."""
        working = self.folder.absolute().parent
        words = ["snakemake", f"results/{path}", "--snakefile", str(SNAKEFILE), "--directory", str(working)]
        with suppress(InputError):
            words += ["--configfile", str(find_config(working))]
        return shlex.join([*words, "--cores", "all"])
