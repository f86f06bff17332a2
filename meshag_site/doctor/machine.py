"""The machine: space, memory, ports, Python and its packages, the offline models, and who may read the secrets."""

import asyncio
import platform
import shutil
import stat
import sysconfig
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from connectors_app.sealing import KEY_FILE as CREDENTIAL_KEYS
from meshag_site import ports
from meshag_site.doctor.findings import Area, Finding, Installation, Level, of_area
from meshag_site.doctor.listeners import who_listens
from meshag_site.first_start import KEY_FILE, PASSWORD_FILE
from meshag_site.supervisor import ROOT

say = of_area(Area.MACHINE)

GB = 1e9
LITTLE_SPACE, NO_SPACE = 2 * GB, 0.2 * GB
LITTLE_MEMORY, NO_MEMORY = 0.5 * GB, 0.15 * GB
SECRETS = ("secret-key", CREDENTIAL_KEYS, PASSWORD_FILE, KEY_FILE, "runtime.json")
MODELS = {
    "voice activity (Silero)": ("silero_vad/data/silero_vad.onnx", "onnxruntime/__init__.py"),
    "recogniser (PocketSphinx)": ("pocketsphinx/__init__.py", "pocketsphinx/model/en-us"),
    "voice (espeak-ng)": ("espeakng_loader/__init__.py", "espeakng_loader/espeak-ng-data"),
}
"""What of the installed packages must be there for a call without a key."""


async def check_machine(its: Installation) -> list[Finding]:
    return await asyncio.to_thread(_look, its)


def _look(its: Installation) -> list[Finding]:
    packages = Path(sysconfig.get_path("purelib"))
    meminfo = Path("/proc/meminfo")
    memory = [check_memory(meminfo.read_text())] if meminfo.exists() else []
    return [
        check_space(its.data_dir, shutil.disk_usage(_existing(its.data_dir)).free),
        *memory,
        check_python(ROOT),
        check_models(packages),
        check_secrets(its.data_dir),
        *check_ports(its),
    ]


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)


def check_space(data_dir: Path, free: float) -> Finding:
    seen, fix = f"{free / GB:.1f} GB free for {data_dir}", "make room, or set MESHAG_DATA_DIR to another disk"
    if free < NO_SPACE:
        return say("Disk", Level.PROBLEM, seen, fix)
    return say("Disk", Level.WARNING, seen, fix) if free < LITTLE_SPACE else say("Disk", Level.OK, seen)


def check_memory(meminfo: str) -> Finding:
    """As /proc/meminfo says."""
    kilobytes = {line.partition(":")[0]: line.split()[1] for line in meminfo.splitlines() if ":" in line}
    free, all_of_it = (int(kilobytes.get(name, 0)) * 1024 for name in ("MemAvailable", "MemTotal"))
    seen = f"{free / GB:.1f} GB of {all_of_it / GB:.1f} GB available"
    fix = "stop what is not needed, or run fewer workers (MESHAG_STT_WORKERS and its like; each has about 80 MB)"
    if free < NO_MEMORY:
        return say("Memory", Level.PROBLEM, seen, fix)
    return say("Memory", Level.WARNING, seen, fix) if free < LITTLE_MEMORY else say("Memory", Level.OK, seen)


def check_python(root: Path) -> Finding:
    installed, lock = root / ".venv" / "requirements.installed", root / "requirements.lock"
    seen = f"Python {platform.python_version()}, Django {version('Django')}{_uv()}, on {platform.system()}"
    if platform.python_version_tuple()[:2] != ("3", "11"):
        return say("Python", Level.PROBLEM, seen, "use Python 3.11: remove .venv and run `make up`")
    if installed.exists() and lock.exists() and installed.stat().st_mtime < lock.stat().st_mtime:
        fix = "run `make up`: it installs what requirements.lock says"
        return say("Python", Level.WARNING, f"{seen}; requirements.lock is newer than what is installed", fix)
    return say("Python", Level.OK, seen)


def _uv() -> str:
    try:
        return f", uv {version('uv')}"
    except PackageNotFoundError:
        return ""


def check_models(packages: Path) -> Finding:
    missing = [name for name, paths in MODELS.items() if not all((packages / path).exists() for path in paths)]
    if not missing:
        return say("Offline models", Level.OK, ", ".join(MODELS))
    fix = "run `make up`: it installs what requirements.lock says"
    return say("Offline models", Level.PROBLEM, f"missing: {', '.join(missing)}", fix)


def check_secrets(data_dir: Path) -> Finding:
    """Whether others on this machine can read what is for us only."""
    files = [data_dir / name for name in SECRETS if (data_dir / name).exists()]
    readable = [path for path in files if stat.S_IMODE(path.stat().st_mode) & 0o077]
    if readable:
        names = " ".join(str(path) for path in readable)
        return say("Secret files", Level.PROBLEM, f"others may read {names}", f"chmod 600 {names}")
    if data_dir.exists() and stat.S_IMODE(data_dir.stat().st_mode) & 0o077:
        return say("Secret files", Level.WARNING, f"others may look into {data_dir}", f"chmod 700 {data_dir}")
    return say("Secret files", Level.OK, f"{data_dir} is for its user only")


# -- ports ----------------------------------------------------------------------------------------------


def check_ports(its: Installation) -> list[Finding]:
    """Those of a running `up` that had to move; else those that it would not get."""
    documented = {setting: port for setting, port in ports.DOCUMENTED.items() if port}
    if its.is_started:
        moved = set(its.runtime.get("moved", []))
        wanted = {setting: port for setting, port in documented.items() if setting in moved}
    else:
        wanted = {setting: its.port(setting, port) for setting, port in documented.items()}
    listeners = who_listens(set(wanted.values()))
    taken = [_taken(its, setting, port, listeners[port]) for setting, port in wanted.items() if port in listeners]
    return taken or [say("Ports", Level.OK, "as they are set" if its.is_started else "free for `make up`")]


def _taken(its: Installation, setting: str, port: int, who: str) -> Finding:
    instead = f"{its.port(setting, port)} is used instead" if its.is_started else "`make up` takes another one"
    return say(f"Port {port}", Level.WARNING, f"is taken by {who}; {instead}", f"stop that program, or set {setting}")
