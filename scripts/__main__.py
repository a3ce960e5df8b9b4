"""``fairseq-workbench``: list the commands, or run one: ``fairseq-workbench sample CKPT --prompt TEXT``.

    fairseq-workbench            the commands, one line each
    fairseq-workbench NAME ...   runs scripts/NAME.py

In an installed package the files of this folder are the package ``fairseq_workbench``. Only the file of the
command is imported.
"""

import ast
import difflib
import runpy
import sys
from pathlib import Path

PROGRAM = "fairseq-workbench"
FOLDER = Path(__file__).resolve().parent


def commands() -> dict[str, Path]:
    """Return {name: file} of the commands; other files in the folder are shared by them."""
    files = sorted(FOLDER.glob("[!_]*.py"))
    return {path.stem: path for path in files if '__name__ == "__main__"' in path.read_text(encoding="utf-8")}


def listing(found: dict[str, Path]) -> str:
    """Return a line for each command: its name, and the first line of its documentation."""
    lines = [f"usage: {PROGRAM} COMMAND ...", "", f"{PROGRAM} COMMAND --help explains a command.", ""]
    for name, path in found.items():
        documentation = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        lines.append(f"  {name:<24}{documentation.partition(chr(10))[0]}")
    return "\n".join(lines)


def main() -> int | None:
    """Run the command line."""
    found, (name, *rest) = commands(), sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        sys.stdout.write(listing(found) + "\n")
        return 0
    path = found.get(name.removesuffix(".py").replace("-", "_"))
    if path is None:
        near = difflib.get_close_matches(name, found, n=1)
        hint = f"did you mean {near[0]}?" if near else f"`{PROGRAM}` lists the commands"
        print(f"error: {PROGRAM} has no command {name!r}: {hint}", file=sys.stderr)
        return 2
    sys.argv = [f"{PROGRAM} {path.stem}", *rest]
    sys.path.insert(0, str(FOLDER))  # as Python does for a script
    runpy.run_module(path.stem, run_name="__main__")
    return None


if __name__ == "__main__":
    sys.exit(main())
