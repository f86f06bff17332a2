"""Which program listens on a port of this machine, as far as /proc tells."""

import os
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
LISTENING: Final = "0A"
SOMEBODY: Final = "another program"


def who_listens(among: set[int], proc: Path = PROC) -> dict[int, str]:
    """By port, the program; without a /proc nobody is known to listen."""
    inodes = {inode: port for inode, port in _listening(proc).items() if port in among}
    if not inodes:
        return {}
    return dict.fromkeys(inodes.values(), SOMEBODY) | _holders(proc, inodes)


def _listening(proc: Path) -> dict[str, int]:
    """Ports by the inode of their socket."""
    found = {}
    for name in ("tcp", "tcp6"):
        table = proc / "net" / name
        for line in table.read_text().splitlines()[1:] if table.exists() else []:
            columns = line.split()
            if columns[3] == LISTENING:
                found[columns[9]] = int(columns[1].rpartition(":")[2], 16)
    return found


def _holders(proc: Path, inodes: dict[str, int]) -> dict[int, str]:
    holders = {}
    for process in proc.glob("[0-9]*"):
        for inode in _sockets(process) & inodes.keys():
            holders[inodes[inode]] = _described(process)
    return holders


def _sockets(process: Path) -> set[str]:
    """The inodes of its sockets; none of a process of somebody else's, or of one that is gone."""
    try:
        with os.scandir(process / "fd") as entries:
            targets = [os.readlink(entry.path) for entry in entries]
    except OSError:
        return set()
    return {target[len("socket:[") : -1] for target in targets if target.startswith("socket:[")}


def _described(process: Path) -> str:
    """Its name only: a command line may hold a secret."""
    try:
        name = (process / "comm").read_text().strip()
    except OSError:
        return SOMEBODY
    return f"{name} (process {process.name})"
