"""Does a lens that is fitted to the model see the class earlier than the model's own head does?"""

from classlens.catalog import files
from classlens.catalog.job import EXECUTION, RANKS, TRAINING_IMAGES, Analysis, Figure, Gpu, Job, Pass

PASSES = (
    Pass(
        "look_through_tuned_lens",
        code="classlens.passes.tuned_lens:TunedLens",
        rows=files.LENS_SEEN,
        in_shards=True,
        inputs={"maps": files.LENS_MAPS},
        minutes=60,
    ),
)
JOBS = (
    # Of models whose training images do not fit into one shard; others have their sums from the job that fits.
    Job(
        "tuned_lens_sums",
        "classlens.passes.sums:write_sums",
        inputs={"pixels": files.TRAINING, "weights": files.WEIGHTS},
        outputs={"shard": files.LENS_SUMS},
        settings=("network", "seed", "training_shard"),
        local=EXECUTION,
        functions={"of": "classlens.passes.tuned_lens:TunedLensSums"},
        needs=(TRAINING_IMAGES, RANKS),
        gpu=Gpu(60),
        temporary=True,
    ),
    # All blocks are fitted together, from the same forward passes.
    Job(
        "fit_tuned_lens",
        "classlens.passes.tuned_lens_fit:fit_tuned_lens",
        inputs={
            "training": files.TRAINING,
            "weights": files.WEIGHTS,
            "shards": files.several_shards(files.LENS_SUMS, "training"),
        },
        outputs={"maps": files.LENS_MAPS},
        settings=("network", "tuned_lens", "seed"),
        local=EXECUTION,
        needs=(TRAINING_IMAGES, RANKS),
        gpu=Gpu(240),
        temporary=True,
        trial="classlens.check.trials:tuned_lens",
    ),
    Job(
        "gather_tuned_lens",
        "classlens.passes.gather_tuned_lens:gather_tuned_lens",
        inputs={"shards": files.all_shards(files.LENS_SEEN), "maps": files.LENS_MAPS},
        of_blocks={"lens": "results/{model}/tuned_lens"},
        environment="data",
        minutes=60,
    ),
)
ANALYSES = (
    Analysis(
        "tuned_lens",
        section="Identifiability",
        function="classlens.measures.tuned_lens:compare_lenses",
        inputs={"maps": files.TUNED_LENS, "layers": files.LAYERS},
        needs=(TRAINING_IMAGES, RANKS),
        tested=True,
        twins=True,
        caption="The logit lens (the model's own norms and head at every block) and the tuned lens (the same after an "
        "affine map of the block's output, fitted on training images to predict the class distribution at the last "
        "block): mean KL divergence of that distribution from each lens, in nats, and mean identifiability, by block, "
        "[CLS] and image tokens apart. Means over images with bootstrap intervals; their difference with a two-sided "
        "sign-flip test over images, {correction} correction over the table. `map` says what was kept of each block, "
        "by the KL on training images held out; logit_lens: no map was better, so the two are the same.",
        figure=Figure(
            content="figure: tuned lens",
            settings=("chance_levels", "twin_of"),
            caption="Left: mean KL divergence of the class distribution at the last block from that of a lens at the "
            "same token, by block. Right: mean identifiability. The logit lens reads every block with the model's own "
            "norms and head; the tuned lens puts an affine map in front, fitted on training images to predict the last "
            "block. Bands are bootstrap intervals over images. A star marks blocks where the lenses differ in "
            "identifiability: two-sided sign-flip test over images, {correction} correction over the whole table. The "
            "dashed line is chance, (C + 1) / 2C with C classes. A random twin's tuned lens is fitted to the twin's "
            "own last block. The paper reads the rise of identifiability over blocks as the building of the class. If "
            "the tuned lens saw the class in early blocks as well as in late ones, that rise would be a change of "
            "basis instead: the class would be there all along, in directions that the head does not read.{registers}",
        ),
    ),
)
