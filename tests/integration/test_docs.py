"""docs/build_api.py on one package: no warnings, no dead links, cross-references as names."""

import re
import subprocess
import sys

import toy


def test_the_reference_of_one_package(tmp_path):
    command = [sys.executable, toy.ROOT / "docs" / "build_api.py", "plugins.peft", "-o", tmp_path]
    done = subprocess.run(command, cwd=toy.ROOT, capture_output=True, text=True, timeout=180)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr[-2000:]
    pages = {page.resolve(): page.read_text(encoding="utf-8") for page in tmp_path.rglob("*.html")}
    assert "plugins.peft" in pages[(tmp_path / "plugins" / "peft.html").resolve()]
    for page, text in pages.items():
        assert not re.search(r":(class|func|meth|mod|data):", text)
        for link in re.findall(r'<a href="([^"$]+)"', text):
            file, _, anchor = link.partition("#")
            if ":" not in file:
                target = (page.parent / file).resolve() if file else page
                assert target in pages and (not anchor or f'id="{anchor}"' in pages[target]), (page, link)
