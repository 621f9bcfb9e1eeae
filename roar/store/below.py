"""Opening what lies below a folder: every step by a descriptor of the folder above, and no link is followed.

A name that leads out of a store (a linked folder, a linked file) or that is no file (a FIFO, a device, a socket) is
refused before a byte of it is read or written. The folder itself may be a link.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from roar.errors import StoreError

DEEPEST = 64  # folders in each other; a store has six
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NOT_A_FOLDER = (errno.ELOOP, errno.ENOTDIR, errno.EMLINK)  # what systems say of a link that must not be followed
_NO_FLUSH = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF, errno.ENOSYS)  # a disk that cannot
_KINDS = {stat.S_IFLNK: "link", stat.S_IFIFO: "FIFO", stat.S_IFSOCK: "socket", stat.S_IFCHR: "device",
          stat.S_IFBLK: "device", stat.S_IFDIR: "folder"}


@contextmanager
def folder_below(root: Path, parts: Sequence[str], make: bool = False,
                 check: Callable[[int], None] = lambda root: None) -> Iterator[int]:
    """A descriptor of the folder ``root/parts[0]/parts[1]/...``.

    Args:
        make: make the folders that are missing, each on the disk before anything is put into it.
        check: is given the root's descriptor. Raises where it is not the one that is meant.

    Raises:
        StoreError: one of the parts is a link.
        OSError: it cannot be opened.
    """
    if make:
        _make_root(root)
    descriptor = os.open(root, _FOLDER)
    try:
        check(descriptor)
        for depth, name in enumerate(parts):
            if make:
                make_folder(name, descriptor)
            below = _step(descriptor, name, root.joinpath(*parts[:depth + 1]))
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


def open_file(folder: int, name: str, place: Path, flags: int = os.O_RDONLY) -> int:
    """A descriptor of a regular file that is there.

    Args:
        folder: descriptor of the folder that it lies in.
        place: its path, for messages.

    Raises:
        StoreError: it is a link, a FIFO, a device, ...
        OSError: it is not there, or cannot be opened.
    """
    require_file(os.stat(name, dir_fd=folder, follow_symlinks=False), place)  # opening a device may do something
    try:
        descriptor = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError as error:
        if error.errno in _NOT_A_FOLDER:
            require_file(os.stat(name, dir_fd=folder, follow_symlinks=False), place)
        raise
    try:
        require_file(os.fstat(descriptor), place)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def status(folder: int, name: str, place: Path) -> os.stat_result | None:
    """What is known of a regular file; ``None`` where there is nothing.

    Raises:
        StoreError: what is there is no regular file.
    """
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    require_file(found, place)
    return found


def require_file(found: os.stat_result, place: Path) -> None:
    if not stat.S_ISREG(found.st_mode):
        refuse(found.st_mode, place)


def refuse(mode: int, place: Path) -> None:
    """Raise the sentence about what is neither a folder nor a regular file, or in the place of one."""
    kind = _KINDS.get(stat.S_IFMT(mode), "special file")
    remedy = "put what it leads to in its place, or link the whole store" if kind == "link" else "move it away"
    raise StoreError(f"'{place}' is a {kind}, and a store holds folders and files alone; {remedy}.")


def walk(folder: int, place: Path, below: str = "") -> Iterator[str]:
    """The paths of all regular files below a folder, with ``/`` between their parts; no order.

    Raises:
        StoreError: there is a link or a special file.
    """
    if below.count("/") > DEEPEST:
        raise StoreError(f"'{place}' has more than {DEEPEST} folders in each other, which no store has; move it away.")
    folders = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.name)
            elif entry.is_file(follow_symlinks=False):
                yield below + entry.name
            else:
                with suppress(FileNotFoundError):  # what another process just removed is not there
                    refuse(entry.stat(follow_symlinks=False).st_mode, place / entry.name)
    for name in folders:
        try:
            inside = _step(folder, name, place / name)
        except FileNotFoundError:
            continue
        try:
            yield from walk(inside, place / name, f"{below}{name}/")
        finally:
            os.close(inside)


def make_folder(name: str, folder: int) -> None:
    """A folder in a folder, on the disk before anything is put into it."""
    try:
        os.mkdir(name, dir_fd=folder)
    except FileExistsError:
        return
    flush_folder(folder)


def flush_folder(folder: int) -> None:
    """Make a rename survive a power cut; some network disks cannot.

    Raises:
        OSError: the disk can, and failed.
    """
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in _NO_FLUSH:
            raise


def _make_root(root: Path) -> None:
    for place in reversed([place for place in (root, *root.parents) if not place.exists()]):
        above = os.open(place.parent, _FOLDER)
        try:
            make_folder(place.name, above)
        finally:
            os.close(above)


def _step(folder: int, name: str, place: Path) -> int:
    try:
        return os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
    except OSError as error:
        if error.errno in _NOT_A_FOLDER:
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if not stat.S_ISREG(found.st_mode):
                refuse(found.st_mode, place)
        raise
