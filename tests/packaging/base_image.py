"""The file system of a base image, made of this machine's Python and a static busybox: no registry can be asked."""

import io
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterable
from pathlib import Path

PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
LEFT_OUT = {"__pycache__", "dist-packages", "idlelib", "lib2to3", "pydoc_data", "site-packages", "test", "turtledemo"}
SHELL = ("sh", "mkdir", "ls")
# Parts of glibc that Python does not name, and extension modules from PyPI do.
ALWAYS = ("libdl.so.2", "libgcc_s.so.1", "libpthread.so.0", "librt.so.1", "libutil.so.1")
DEBIANS_WHEELS = Path("/usr/share/python-wheels")  # where Debian's ensurepip finds pip


def write_base(archive: Path) -> None:
    """Writes the archive of a root file system in which `python` and `sh` run."""
    interpreter = Path(sys.base_prefix, "bin", PYTHON)
    library = Path(sysconfig.get_path("stdlib"))
    with tarfile.open(archive, "w") as tar:
        _add(tar, interpreter, f"usr/local/bin/{PYTHON}")
        for name in ("python", "python3"):
            _link(tar, f"usr/local/bin/{name}", PYTHON)
        tar.add(library, f"usr/local/lib/{PYTHON}", filter=_wanted)
        for shared in _shared_libraries([interpreter, *library.glob("lib-dynload/*.so")]):
            # The loader has its one place; what it loads, it finds in /lib.
            _add(tar, shared, str(shared)[1:] if shared.name.startswith("ld-") else f"lib/{shared.name}")
        if DEBIANS_WHEELS.is_dir():
            tar.add(DEBIANS_WHEELS, str(DEBIANS_WHEELS)[1:], filter=_wanted)
        _add(tar, Path(_busybox()), "bin/busybox")
        for name in SHELL:
            _link(tar, f"bin/{name}", "busybox")
        _text(tar, "etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
        _folder(tar, "tmp", 0o1777)
        _folder(tar, "var/cache", 0o755)


def why_not() -> str | None:
    """Why this machine cannot make a base image, or None."""
    return None if shutil.which("busybox") else "busybox is not installed"


def _busybox() -> str:
    program = shutil.which("busybox")
    assert program is not None, why_not()
    return program


def _shared_libraries(programs: Iterable[Path]) -> list[Path]:
    printed = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=False).stdout
    found = {Path(path) for path in re.findall(r"(/\S+\.so\S*) \(", printed) if "libtk" not in path}
    system = next(path.parent for path in found if path.name.startswith("libc.so"))
    return sorted(found | {system / name for name in ALWAYS if (system / name).exists()})


def _wanted(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    parts = Path(entry.name).parts
    if LEFT_OUT & set(parts) or any(part.startswith("config-") for part in parts):
        return None
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry


def _add(tar: tarfile.TarFile, file: Path, name: str) -> None:
    tar.add(file.resolve(), name, filter=_wanted)


def _link(tar: tarfile.TarFile, name: str, target: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = tarfile.SYMTYPE, target
    tar.addfile(entry)


def _text(tar: tarfile.TarFile, name: str, text: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(text)
    tar.addfile(entry, io.BytesIO(text.encode()))


def _folder(tar: tarfile.TarFile, name: str, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = tarfile.DIRTYPE, mode
    tar.addfile(entry)
