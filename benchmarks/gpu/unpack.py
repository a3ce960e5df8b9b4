"""Start of the packed check: unpack it, compile fairseq's extensions, and run it with the same arguments."""

import os
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="gpu_check") as folder:
        root, site = Path(folder), Path(folder, "site")
        with zipfile.ZipFile(Path(__file__).parent) as bundle:
            bundle.extractall(root)
        version = f"cp{sys.version_info.major}{sys.version_info.minor}"
        for wheel in (root / "wheels").glob(f"bitarray-*-{version}-{version}-*.whl"):
            zipfile.ZipFile(wheel).extractall(site)
        processes = [compile_extension(file) for file in site.rglob("*_fast.cpp")]
        if any(process.wait() for process in processes):
            sys.exit("the extensions of fairseq do not compile here; see the compiler's messages above")
        path = os.pathsep.join([str(site), str(root / "project"), os.environ.get("PYTHONPATH", "")])
        command = [sys.executable, str(root / "project" / "benchmarks" / "gpu_check.py"), *sys.argv[1:]]
        sys.exit(subprocess.run(command, env=os.environ | {"PYTHONPATH": path}).returncode)


def compile_extension(file: Path) -> subprocess.Popen:
    """Start to compile a C++ file into a module in the same folder."""
    import numpy

    includes = [f"-I{numpy.get_include()}", f"-I{sysconfig.get_path('include')}"]
    module = file.with_name(file.stem + sysconfig.get_config_var("EXT_SUFFIX"))
    options = ["-O2", "-w", "-shared", "-fPIC", "-std=c++17", *includes]
    return subprocess.Popen(["c++", *options, str(file), "-o", str(module)])


if __name__ == "__main__":
    main()
