"""Does a lens that is fitted to the model see the class earlier than the model's own head does?"""

from classlens.catalog import files, settings
from classlens.catalog.job import TRAINING_IMAGES, Analysis, Figure

ANALYSES = (
    Analysis(
        "tuned_lens",
        section="Identifiability",
        function="classlens.tuned_lens.table:compare_lenses",
        inputs={"maps": files.TUNED_LENS, "layers": files.LAYERS},
        settings=(settings.resampling,),
        needs=(TRAINING_IMAGES,),
        tested=True,
        twins=True,
        caption="The logit lens (the model's own norms and head at every block) and the tuned lens (the same after an "
        "affine map of the block's output, fitted on training images to predict the class distribution at the last "
        "block): mean KL divergence of that distribution from each lens, in nats, and mean identifiability, by block, "
        "[CLS] and image tokens apart. Means over images with bootstrap intervals; their difference with a two-sided "
        "sign-flip test over images, {correction} correction over the table. `map` says what was kept of each block, "
        "by the KL on training images held out; logit_lens: no map was better, so the two are the same.",
        figure=Figure(
            "classlens.figures.tuned_lens:draw",
            content="figure: tuned lens",
            settings=(settings.chance_levels, settings.twin_of),
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
