"""What each rule's job may see of the config, and its key as far as it is known beforehand."""

from classlens.jobs.describe import describe_job, script_of

__all__ = ["describe_job", "script_of"]
