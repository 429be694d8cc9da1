"""Which file systems the index may lie on.

Invariant: a repository is never opened where locks or memory maps are not shared by all who can
see the files. Network file systems fail that; a disk of this machine passes without a look.
"""

from __future__ import annotations

import os
import sys
from typing import Final

from aq.formats.errors import AqError

_NETWORK: Final = frozenset(
    [
        "9p",
        "afs",
        "afpfs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "davfs",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "orangefs",
        "pvfs2",
        "smb3",
        "smbfs",
        "webdav",
    ]
)
_FUSE: Final = frozenset(
    ["ceph", "davfs2", "gcsfuse", "glusterfs", "goofys", "mountpoint-s3", "rclone", "s3fs", "sshfs"]
)


def refuse_network(path: str) -> None:
    """Raise AqError where `path` lies on a network file system."""
    kind = _kind(path)
    if is_network(kind):
        raise AqError(
            f"{path} lies on a network file system ({kind}), where aq's locks do not hold",
            hint="aq init in a folder on a local disk, and share it with aq push",
        )


def is_network(kind: str) -> bool:
    """Whether a file system of this name is a network file system."""
    return kind in _NETWORK or (kind.startswith("fuse.") and kind[5:] in _FUSE)


def _kind(path: str) -> str:
    """The name of the file system, or "" where it is a local disk or cannot be known."""
    device = os.stat(path).st_dev
    if os.major(device) != 0 or sys.platform != "linux":  # 0: a file system without a block device
        return ""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as mounts:
            return _kind_in(wanted, mounts.read())
    except OSError:
        return ""


def _kind_in(device: str, mounts: str) -> str:
    """Find the device in the text of /proc/self/mountinfo (proc(5))."""
    for line in mounts.splitlines():
        before, _dash, after = line.partition(" - ")
        if before.split(" ")[2:3] == [device]:
            return after.split(" ")[0]
    return ""
