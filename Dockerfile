# What jobs need, in the versions of requirements.lock: docker build --tag classlens .
# As a file for --sdm apptainer: apptainer build classlens.sif docker-daemon://classlens:latest
FROM python:3.11-slim-bookworm

WORKDIR /opt/classlens
COPY pyproject.toml requirements.lock README.md LICENSE Snakefile ./
COPY classlens classlens
COPY workflow workflow
COPY config config
COPY envs envs
COPY profiles profiles
# requirements.lock also pins tools of development; as constraints, only what the package needs is installed.
RUN python -m pip install --no-cache-dir --constraint requirements.lock .

WORKDIR /work
CMD ["classlens", "run", "all"]
