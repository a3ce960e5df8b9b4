#!/usr/bin/env python3
"""Write the API reference from the docstrings, one page a module: ``make docs``.

    python docs/build_api.py -o docs/api
    python docs/build_api.py plugins.peft -o docs/api

Warnings are errors. Cross-references are Sphinx roles in the docstrings; pdoc links the names in backquotes.
"""

import argparse
import re
import sys
import warnings
from pathlib import Path

SKIPPED = "!plugins.hub.huggingface.remote"  # files that are copied into exported folders
ROLE = re.compile(r":(?:py:)?(?:class|func|meth|mod|data|attr|exc):`[~.]*([^`]*)`")


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", default=["plugins"], help="packages to document (default: plugins)")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/api"), metavar="DIR", help="(%(default)s)")
    args = parser.parse_args()
    import pdoc
    from pdoc import docstrings

    google = docstrings.google
    docstrings.google = lambda text: google(ROLE.sub(r"`\1`", text))
    warnings.filterwarnings("error", module="pdoc")
    pdoc.render.configure(docformat="google", show_source=False)
    pdoc.pdoc(*args.modules, SKIPPED, output_directory=args.output)
    remove_dead_links(args.output)
    print(f"{args.output / 'index.html'}: {len(list(args.output.rglob('*.html')))} pages")


def remove_dead_links(folder: Path) -> None:
    """Leave the text of links to members that have no entry: pdoc links inherited members without documentation."""
    pages = {page.resolve(): page.read_text(encoding="utf-8") for page in folder.rglob("*.html")}
    anchors = {page: set(re.findall(r'id="([^"]+)"', text)) for page, text in pages.items()}
    for page, text in pages.items():

        def alive(match: re.Match, page: Path = page) -> str:
            file, _, anchor = match[1].partition("#")
            target = (page.parent / file).resolve() if file else page
            known = ":" in file or "$" in file or target in anchors and (not anchor or anchor in anchors[target])
            return match[0] if known else match[2]

        page.write_text(re.sub(r'<a href="([^"]+)"[^>]*>(.*?)</a>', alive, text, flags=re.S), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
