"""The store: a folder for each user, where that user alone writes and from which all read (`classlens.store.folder`).

A key is looked up in one's own folder, then in the others'. A store of the layout before this one (actions/ and blobs/
at its top) is read as one more folder of others.
"""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from pathlib import Path

from classlens.digest import digest_file, write_atomically
from classlens.shipped import CACHE
from classlens.store.disk_errors import explained_disk_errors, going_on_if_denied
from classlens.store.folder import Folder, Output, Record
from classlens.store.lock import locked
from classlens.store.memory import FileMemory
from classlens.store.workdir import PLACING, Placed, PlacedFiles, temporary

STORE_VARIABLE = "CLASSLENS_STORE"
DEFAULT_STORE = ".classlens"

log = logging.getLogger(__name__)


def store_path(configured: str | None) -> Path:
    """Return where the store is: the environment variable goes before the config key, then comes .classlens."""
    return Path(os.path.expanduser(os.environ.get(STORE_VARIABLE) or configured or DEFAULT_STORE)).absolute()


class Store:
    """A content-addressed store of artifacts, whose folder `root` is made when first written to.

    Safe for many processes and machines at once: everything appears under its final name by one rename. Methods raise
    OSErrors as they come (users are told of them by `classlens.store.disk_errors`), and an InputError where somebody
    else has this user's folder or may write to it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.own = Folder(root / f"u{os.getuid()}", is_own=True)
        if os.path.lexists(self.own.path):
            self.own.require_private()
        self._blobs = FileMemory(self.own.path / "digests.sqlite", digest_file, linked=True)
        self._files = FileMemory(Path.cwd() / CACHE / "digests.sqlite", self._digest)

    @cached_property
    def others(self) -> list[Folder]:
        """Other users' folders, each belonging to the user after whom it is named."""
        names = sorted(os.listdir(self.root)) if self.root.is_dir() else []
        users = [self.root / name for name in names if re.fullmatch(r"u\d{1,10}", name) and name != self.own.path.name]
        honest = [path for path in users if f"u{path.lstat().st_uid}" == path.name and not path.is_symlink()]
        before = [self.root] if "actions" in names else []
        return [Folder(path, is_own=False) for path in (*honest, *before)]

    def placed(self) -> PlacedFiles:
        """Return what was placed in the working directory."""
        return PlacedFiles(Path.cwd(), self.root)

    def find(self, key: str) -> Record | None:
        """Return the record of a key, None if nobody has computed it."""
        return next((record for folder in (self.own, *self.others) if (record := folder.find(key))), None)

    def records(self) -> Iterator[tuple[Folder, Record]]:
        """Yield every readable record of every user, each key once."""
        seen = set()
        for folder in (self.own, *self.others):
            for record in folder.records():
                if record.key not in seen:
                    seen.add(record.key)
                    yield folder, record

    def digests(self, paths: Iterable[Path | str]) -> list[str]:
        """Return the digests of files; unchanged ones are not read."""
        return self._files.texts(paths)

    def _digest(self, file: str) -> str:
        # A restore in one working directory changes the times of a blob, and of all files that are linked to it.
        is_linked = os.stat(file).st_nlink > 1
        return (is_linked and self._blobs.known(file)) or digest_file(file)

    def remember(self, digests: Mapping[Path, str]) -> None:
        """Note the digests of blobs and placed files, which nobody writes to any more."""
        blobs = {path for path in digests if self.own.path in path.parents or path.stat().st_nlink > 1}
        self._blobs.remember({path: digest for path, digest in digests.items() if path in blobs})
        self._files.remember({path: digest for path, digest in digests.items() if path not in blobs})

    def has(self, output: Output) -> bool:
        """Tell whether a blob is there, one's own or another user's, which is read when it is copied."""
        return self._is_sound(output.digest) or any(folder.holds(output) for folder in self.others)

    def _is_sound(self, digest: str) -> bool:
        """Tell whether one's own blob has its content; one with the size and times of its last reading is not read."""
        blob = self.own.blob(digest)
        try:
            if not stat.S_ISREG(blob.lstat().st_mode):
                return False
            found = self._blobs.known(blob) or self.digests([blob])[0]
        except FileNotFoundError:
            return False
        if found != digest:
            log.warning("blob %s is damaged (its content is %s); it is made anew", blob, found)
        return found == digest

    def restore(self, record: Record, destinations: Mapping[str, Path], *, replace: bool = True) -> bool:
        """Place outputs of an action, all of them or none; return False if a blob is missing or damaged.

        Each is listed and gets its name while the list is held, so that whoever holds it finds the two in accord.

        Args:
            destinations: paths by the outputs' names.
            replace: what is at a destination; else nothing is placed there.

        Raises:
            InputError: a destination's folder may not be written to, or its disk is full.
        """
        outputs = {destinations[one.name]: one for one in record.outputs if one.name in destinations}
        if len(outputs) < len(destinations):
            return False
        with ExitStack() as stack:
            ready = {}
            for path, output in outputs.items():
                if replace or not os.path.lexists(path):
                    with explained_disk_errors(self.root, path.parent, output.size):
                        ready[path] = stack.enter_context(temporary(path.parent, PLACING)) / path.name
                        if not self._bring(output, ready[path]):
                            return False
            files = self.placed()
            self.note(files)
            stack.enter_context(files.held())
            places = [path for path in ready if replace or not os.path.lexists(path)]
            files.append({str(path): Placed(record.key, outputs[path].digest) for path in places})
            for path in places:
                os.replace(ready[path], path)
            self.remember({path: outputs[path].digest for path in places})
        return True

    def _bring(self, output: Output, new: Path) -> bool:
        """Make a read-only file with the content of an output, of a time that a scheduler takes for fresh.

        One's own blob is linked, if that can be; another user's is cloned or copied, since its owner may write to it.
        """
        with suppress(OSError):  # gone, another file system, too many links
            before = (blob := self.own.blob(output.digest)).stat()
            if before.st_uid == os.getuid() and self._is_sound(output.digest):
                os.link(blob, new, follow_symlinks=False)
                if os.path.samestat(before, after := new.lstat()) and before.st_mtime_ns == after.st_mtime_ns:
                    os.utime(new)
                    self.remember({new: output.digest})  # other outputs may be equal
                    return True
                new.unlink()
        return any(folder.copy(output, new) for folder in (self.own, *self.others))

    def note(self, files: PlacedFiles) -> None:
        """Note that a working directory may show what is in one's own folder, if that may be written to."""
        root = self.own.path / "roots" / files.id
        with going_on_if_denied():
            if not root.exists():
                write_atomically(self.own.make(root.parent) / root.name, f"{files.working}\n")

    def take(self, name: str, path: Path) -> Output:
        """Move a finished file into the store; return it as an output of this name."""
        output = Output(name, digest_file(path), path.stat().st_size)
        blob = self.own.blob(output.digest)
        with explained_disk_errors(self.root, needed=output.size):
            if self._is_sound(output.digest):
                with suppress(PermissionError):  # another user's, moved here
                    os.utime(blob)  # or a collection would take it for unused, until its record is there
                path.unlink()
            else:
                self.own.move_in(path, output.digest)
        self.remember({blob: output.digest})
        return output

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Hold a key: a second job of this user with the same key waits and then finds the result."""
        file = self.own.make(self.own.path / "locks") / f"{key}.lock"
        with locked(file, why="another job computes the same; waiting for it"):
            yield
