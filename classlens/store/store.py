"""The store: a folder for each user, where that user alone writes and from which all read.

    STORE/u<uid>/            see `classlens.store.folder`

A key is looked up in one's own folder, then in the others'; what is found there is taken over. A store of
the layout before this one (actions/ and blobs/ at its top) is read as one more folder of others.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from pathlib import Path

from classlens.cache import CACHE
from classlens.digest import digest_file, write_atomically
from classlens.errors import InputError
from classlens.store.disk_errors import ANOTHER_STORE, DENIED, explained_disk_errors
from classlens.store.folder import Folder, Record, make_folder, require_digest
from classlens.store.lock import locked
from classlens.store.memory import DigestMemory
from classlens.store.place import prepared, put, workspace
from classlens.store.placed import Placed, PlacedFiles

STORE_VARIABLE = "CLASSLENS_STORE"
DEFAULT_STORE = ".classlens"

_unnoted: set[Path] = set()
log = logging.getLogger(__name__)


def store_path(configured: str | None) -> Path:
    """Return where the store is: the environment variable goes before the config key, then comes .classlens."""
    return Path(os.path.expanduser(os.environ.get(STORE_VARIABLE) or configured or DEFAULT_STORE)).absolute()


class Store:
    """A content-addressed store of artifacts, whose folder `root` is made when first written to.

    Safe for many processes and machines at once: everything appears under its final name by one rename. Methods raise
    OSErrors as they come; see `classlens.store.disk_errors` for what users are told. For one that `looks`, what is read
    is noted in the working directory alone.
    """

    def __init__(self, root: Path, *, looks: bool = False) -> None:
        self.root = root
        self.own = Folder(root / f"u{os.getuid()}", is_own=True)
        own = self.own.path
        shared = DigestMemory(own / "digests.sqlite") if not os.path.lexists(own) or _is_private(own) else None
        if shared:
            shared.is_kept = not looks
        self.memory = DigestMemory(Path.cwd() / CACHE / "digests.sqlite", shared)

    @cached_property
    def others(self) -> list[Folder]:
        """Other users' folders."""
        try:
            with os.scandir(self.root) as entries:
                found = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
        except FileNotFoundError:
            return []
        users = [path for path in sorted(found) if re.fullmatch(r"u\d{1,10}", path.name) and path != self.own.path]
        honest = [path for path in users if f"u{path.lstat().st_uid}" == path.name]
        before = [self.root.resolve()] if self.has_layout_before else []
        return [Folder(path, is_own=False) for path in [*honest, *before]]

    @property
    def has_layout_before(self) -> bool:
        """Whether records lie at the top, as they did before users had folders."""
        return (self.root / "actions").is_dir()

    def placed(self, working: Path | None = None) -> PlacedFiles:
        """Return what was placed in a working directory (default: the current one)."""
        return PlacedFiles((working or Path.cwd()).resolve(), self.root)

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

    def has(self, digest: str, size: int) -> bool:
        """Tell whether a blob is there: one's own with the content that its name promises, or one of another user.

        An own blob with the size and times that it had when it was last read is taken as unchanged; a damaged one is
        named in the log. What another user has is read when it is taken over.
        """
        return self._has_own(digest) or any(folder.holds(digest, size) for folder in self.others)

    def _has_own(self, digest: str) -> bool:
        blob = self.own.blob(digest)
        try:
            status = blob.lstat()
            if not stat.S_ISREG(status.st_mode):
                return False
            found = self.memory.digest(blob, linked=status.st_uid == os.getuid())
        except FileNotFoundError:
            return False
        if found != digest:
            log.warning("blob %s is damaged (its content is %s); it is made anew", blob, found)
        return found == digest

    def holder(self, digest: str, size: int) -> Folder | None:
        """Return a folder that has a blob: one's own, if it can be brought there."""
        if self._has_own(digest):
            return self.own
        for folder in (folder for folder in self.others if folder.holds(digest, size)):
            try:
                with workspace() as place, prepared(folder, digest, place / "blob", self.memory) as new:
                    self.require_own_folder()
                    self.own.move_in(new, digest)
            except FileNotFoundError:
                log.warning("%s has another content than its name says; it is passed over", folder.blob(digest))
                continue
            except OSError as error:
                if error.errno in DENIED:  # a store that may only be read
                    return folder
                raise
            self.memory.remember(self.own.blob(digest), digest)
            return self.own
        return None

    def restore(self, record: Record, destinations: Mapping[str, Path], *, replace: bool = True) -> bool:
        """Place an action's outputs at their destinations, all of them or none.

        Each is listed and gets its name while the list is held, so that whoever holds it finds the two in accord.

        Args:
            record: of the action; one of another user is noted in one's own folder.
            destinations: paths by the outputs' names.
            replace: what is at a destination; else nothing is placed there.

        Returns:
            False if a blob is missing or damaged; the outputs are to be made anew then.

        Raises:
            InputError: a destination's folder may not be written to, or its disk is full.
        """
        outputs = {output.name: output for output in record.outputs}
        if set(outputs) != set(destinations):
            return False
        wanted = {name: path for name, path in destinations.items() if replace or not os.path.lexists(path)}
        with ExitStack() as stack:
            ready = {}
            for name, path in wanted.items():
                try:
                    with explained_disk_errors(self.root, path.parent, outputs[name].size):
                        holder = self.holder(outputs[name].digest, outputs[name].size)
                        if holder is None:
                            return False
                        context = prepared(holder, outputs[name].digest, path, self.memory)
                        ready[name] = stack.enter_context(context)
                except FileNotFoundError:  # collected or replaced meanwhile
                    return False
            files = self.placed()
            with going_on_if_denied(self.root):
                self.note_working_directory(files.working)
                if not self.own.action(record.key).exists():
                    self.own.write(record)
            stack.enter_context(files.held())
            wanted = {name: path for name, path in wanted.items() if replace or not os.path.lexists(path)}
            files.append({str(path): Placed(record.key, outputs[name].digest) for name, path in wanted.items()})
            for name, path in wanted.items():
                put(ready[name], path, self.memory, outputs[name].digest, replace=replace)
        return True

    def note_working_directory(self, working: Path) -> None:
        """Note that a working directory shows what is in one's own folder."""
        root = self.own.path / "roots" / hashlib.sha256(str(working).encode()).hexdigest()[:32]
        if not root.exists():
            self.require_own_folder()
            make_folder(root.parent)
            write_atomically(root, f"{working}\n")

    def take(self, path: Path) -> tuple[str, int]:
        """Move a finished file into the store; return its digest and size in bytes."""
        digest, size = digest_file(path), path.stat().st_size
        if self._has_own(digest):
            path.unlink()
            return digest, size
        with explained_disk_errors(self.root, needed=size):
            self.require_own_folder()
            self.own.move_in(path, digest)
        self.memory.remember(self.own.blob(digest), digest)
        return digest, size

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Hold a key: a second job of this user with the same key waits and then finds the result."""
        with locked(self._lock_file(require_digest(key)), why="another job computes the same; waiting for it"):
            yield

    def require_locks(self) -> None:
        """Take a lock in the store, if it may be written to: a run says what is wrong with locks before its jobs do."""
        with going_on_if_denied(self.root), suppress(TimeoutError), locked(self._lock_file("run"), seconds=0):
            pass

    def _lock_file(self, name: str) -> Path:
        self.require_own_folder()
        make_folder(self.own.path / "locks")
        return self.own.path / "locks" / f"{name}.lock"

    def require_own_folder(self) -> None:
        """Make this user's folder where it is missing; an InputError tells if what stands there is none of theirs."""
        own = self.own.path
        if not os.path.lexists(own):
            make_folder(own)
        if not _is_private(own):
            raise InputError(
                f"{own} must be a folder of yours to which nobody else may write: remove it, or `chmod go-w` it if it "
                f"is yours, or {ANOTHER_STORE}"
            )


def _is_private(folder: Path) -> bool:
    """Tell whether a folder is this user's, and nobody else may write to it."""
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022


@contextmanager
def going_on_if_denied(store: Path) -> Iterator[None]:
    """Go on where a store may only be read: results can be used, but not noted as in use, which is said once."""
    try:
        yield
    except OSError as error:
        if error.errno not in DENIED:
            raise
        if store not in _unnoted:
            _unnoted.add(store)
            log.warning(
                "you may not write to the store %s: what you use of it is not noted, and may be collected", store
            )
