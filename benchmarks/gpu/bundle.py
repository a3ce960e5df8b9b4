"""Pack the check into one file that runs where there are torch, numpy and a C++ compiler, but no fairseq or network.

The file is a zip archive that Python runs: it unpacks itself into a temporary folder, compiles fairseq's two extensions
that reading data needs, and starts the check. In it: this package and its benchmarks, fairseq's Python files from its
source distribution, hydra with what it needs, and a wheel of bitarray for each version of Python.
"""

import importlib.metadata
import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import measure

ROOT = Path(__file__).resolve().parents[2]
FAIRSEQ = "fairseq-fixed"
PURE = ("hydra-core", "omegaconf", "antlr4-python3-runtime")  # copied from this environment
PYTHONS = ("3.11", "3.12", "3.13")
PLATFORMS = ("manylinux2014_x86_64", "manylinux_2_17_x86_64", "manylinux_2_27_x86_64", "manylinux_2_28_x86_64")
EXTENSIONS = ("data_utils_fast", "token_block_utils_fast")
MOST_BYTES = 20_000_000


def write(path: Path) -> Path:
    """Write the file; needs pip's index, or its cache, once.

    Raises:
        SystemExit: pip fails, or the file would be larger than 20 MB.
    """
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        sources = fetch(scratch)
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bundle:
            bundle.write(Path(__file__).with_name("unpack.py"), "__main__.py")
            for name, content in [*project(), *fairseq(sources), *pure(), *wheels(scratch)]:
                bundle.writestr(name, content)
    if buffer.tell() > MOST_BYTES:
        sys.exit(f"{path}: {buffer.tell():,} bytes, more than {MOST_BYTES:,}")
    path.write_bytes(buffer.getvalue())
    return path


def fetch(folder: Path) -> Path:
    """Download fairseq's source distribution and the wheels of bitarray; return the former."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", str(folder)]
    version = importlib.metadata.version(FAIRSEQ)
    run([*pip, "--no-binary", ":all:", "--no-build-isolation", f"{FAIRSEQ}=={version}"])
    bitarray = f"bitarray=={importlib.metadata.version('bitarray')}"
    for python in PYTHONS:
        where = [word for platform in PLATFORMS for word in ("--platform", platform)]
        run([*pip, "--only-binary", ":all:", "--python-version", python, "--implementation", "cp", *where, bitarray])
    return next(folder.glob("fairseq*.tar.gz"))


def run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr.strip().splitlines()[-1]}")


def project() -> Iterator[tuple[str, bytes]]:
    """Yield the files of this package and its benchmarks, and the commit."""
    yield "project/benchmarks/COMMIT", str(measure.commit()).encode()
    for folder in ("plugins", "benchmarks"):
        for file in sorted((ROOT / folder).rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts and "results" not in file.parts:
                yield f"project/{file.relative_to(ROOT)}", file.read_bytes()


def fairseq(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Yield fairseq's Python files, its configuration, the C++ of its two extensions, and its version."""
    version = importlib.metadata.version(FAIRSEQ)
    metadata = f"Metadata-Version: 2.1\nName: {FAIRSEQ}\nVersion: {version}\n"
    yield f"site/{FAIRSEQ.replace('-', '_')}-{version}.dist-info/METADATA", metadata.encode()
    with tarfile.open(archive) as tar:
        for member in tar:
            inside = Path(*Path(member.name).parts[1:])
            if not member.isfile() or inside.parts[0] not in ("fairseq", "fairseq_cli") or "examples" in inside.parts:
                continue
            content = tar.extractfile(member).read()
            if inside.suffix in (".py", ".yaml", ".txt"):
                yield f"site/{inside}", content
            elif inside.stem in EXTENSIONS and inside.suffix == ".pyx":
                yield f"site/{inside.with_suffix('.cpp')}", cythonized(inside.name, content)


def cythonized(name: str, source: bytes) -> bytes:
    """Return the C++ that Cython makes of a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(source)
        run([sys.executable, "-m", "cython", "-3", "--cplus", str(path)])
        return path.with_suffix(".cpp").read_bytes()


def pure() -> Iterator[tuple[str, bytes]]:
    """Yield the Python packages that are copied from this environment, with their metadata."""
    for name in PURE:
        for file in importlib.metadata.files(name) or ():
            if file.suffix != ".pyc" and file.parts[0] != "..":
                yield f"site/{file}", file.locate().read_bytes()


def wheels(folder: Path) -> Iterator[tuple[str, bytes]]:
    for wheel in sorted(folder.glob("bitarray*.whl")):
        yield f"wheels/{wheel.name}", wheel.read_bytes()
