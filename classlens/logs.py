"""Log files of jobs: one each, with time stamps, warnings and uncaught errors.

The first line says which process writes it, and the last one that it has ended: by these, `classlens.watch` tells what
runs, also on another machine.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from classlens.process import this_process

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
STARTED = "started by process %d (%d) on %s"
ENDED = "ended"


@contextmanager
def job_log(path: Path | str) -> Iterator[logging.Logger]:
    """Write everything that is logged in the context to a file; an uncaught error is logged with its traceback.

    Args:
        path: the log file; one of an earlier run is replaced.
    """
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(file, mode="w")
    handler.setFormatter(logging.Formatter(FORMAT))
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    log, process = logging.getLogger("classlens"), this_process()
    log.info(STARTED, process.number, process.born, process.host)
    try:
        yield log
    except Exception:
        log.exception("the job failed")
        raise
    finally:
        log.info(ENDED)
        logging.captureWarnings(False)
        root.removeHandler(handler)
        root.setLevel(before)
        handler.close()
