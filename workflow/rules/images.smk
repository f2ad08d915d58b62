"""Rules over images: a job takes all images of a model, or those of a shard; `shards.smk` joins these."""


class Images:
    """Which of its models' images a job takes; a rule over images is written once, in a loop over `IMAGES`."""

    def __init__(self, models, in_shards):
        self.models, self.in_shards = models, in_shards

    def rule(self, name):
        """Return a rule's name: the two are different rules."""
        return f"{name}_shard" if self.in_shards else name

    def output(self, path):
        """Return what is made of a model's file: all, or a shard that goes once it was joined."""
        return temp(files.shard_of(path)) if self.in_shards else path

    def log(self, path):
        """Return a job's log, given that of a job that takes all images."""
        of_shard = f"{path.removesuffix('.log')}/{{shard}}.log"
        return of_shard if self.in_shards else path

    def means(self, summed):
        """Return the input with means over all images; a job that takes all finds them itself."""
        path = files.CAUSE_MEANS.replace("{summed}", summed)
        return {"means": path} if self.in_shards else {}


IN_SHARDS = [
    name for name in CONFIG.models if as_workflow_error(CONFIG.shards, name) > 1
]
IMAGES = [Images([name for name in CONFIG.models if name not in IN_SHARDS], False)]
if IN_SHARDS:
    IMAGES.append(Images(IN_SHARDS, True))
