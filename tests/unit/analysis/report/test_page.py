"""The page: one file, escaped, small, complete."""

import base64
import hashlib
import html.parser
import json
import re
import subprocess
import sys

import hand_built
import numpy as np
import pytest
import toy

from plugins.analysis.report import page

HOSTILE = "</script><img src=x onerror=alert(1)>&amp;\u2028\u2029\"'@STYLE@"


class Tags(html.parser.HTMLParser):
    """The tags of a page, and the text of its elements that contain data."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self.open = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.open = tag == "script"

    def handle_data(self, data):
        if self.open:
            self.scripts.append(data)
            self.open = False


def test_weights_are_bytes_of_their_square_root():
    stored = base64.b64decode(page.quantize(np.array([[0, 0.25], [1, 0.001]])))
    assert list(stored) == [0, 128, 255, 8]


def test_stored_weights_are_within_the_documented_error():
    weights = np.linspace(0, 1, 100_001)
    stored = np.frombuffer(base64.b64decode(page.quantize(weights)), np.uint8)
    error = np.abs((stored / 255) ** 2 - weights)
    assert error.max() < 0.004
    assert error[np.abs(weights - 0.01) < 0.001].max() < 0.0005


def test_hostile_text_is_data():
    text = page.embed({HOSTILE: [HOSTILE]})
    assert not re.search("[<>&\u2028\u2029]", text)
    assert json.loads(text) == {HOSTILE: [HOSTILE]}


def test_hostile_text_adds_no_tag():
    def tags(word):
        report = hand_built.report([word, "b"], 1, 1, title=word, lead=word)
        report["model"] = {"card": [{"name": word, "facts": [[word, word]]}], "options": [[word, word]]}
        report["patterns"]["items"][0] |= {"title": word, "what": word, "most": word}
        report["styles"]["names"] = [word, word]
        report["samples"]["texts"] = [[word] * 2] * 2
        return Tags(page.render(report))

    hostile, harmless = tags(HOSTILE), tags("word")
    assert hostile.tags == harmless.tags
    assert json.loads(hostile.scripts[0])["attention"]["tokens"] == [HOSTILE, "b"]


def test_the_policy_names_the_very_script_and_style():
    text = page.render(hand_built.report())
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', text)[1]
    for kind, source in (
        ("script", re.search("<script>(.*)</script>", text, re.DOTALL)[1]),
        ("style", re.search("<style>(.*)</style>", text, re.DOTALL)[1]),
    ):
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; ")


def test_the_page_is_self_contained():
    text = page.render(hand_built.report())
    outside = [
        value for _, attributes in Tags(text).tags for name, value in attributes.items()
        if name in ("src", "href") and not value.startswith(("#", "data:"))
    ]  # fmt: skip
    assert outside == []
    assert "http" not in text.replace("http-equiv", "") and "@import" not in text and "url(" not in text


def test_twelve_layers_of_twelve_heads_on_64_tokens_are_below_six_megabytes():
    assert len(page.render(hand_built.report()).encode()) < 1_000_000


@pytest.mark.parametrize("section", page.SECTIONS[1:])
def test_a_section_without_content_is_left_out(section):
    text = page.render(hand_built.report(**{section: None}))
    sections = [attributes["id"] for tag, attributes in Tags(text).tags if tag == "section"]
    assert sections == [name for name in page.SECTIONS if name != section]
    assert f'href="#{section}"' not in text


def test_the_table_contains_all_scores():
    text = page.render(hand_built.report("ab", layers=2, heads=2))
    rows = re.findall(r'<th scope="row">(layer.*?)</th><td>(.*?)</td>', text)
    assert rows == [("layer 0, head 0", "-0.100"), ("layer 0, head 1", "0.200"), ("layer 1, head 0", "0.500"),
                    ("layer 1, head 1", "0.800")]  # fmt: skip


def test_the_script_is_at_most_300_lines():
    lines = (page.HERE / "page.js").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 300 and max(map(len, lines)) <= 120


def test_the_script_makes_no_markup_of_text():
    script = (page.HERE / "page.js").read_text(encoding="utf-8")
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser", script
    )


def test_an_installation_has_the_parts_of_the_page(tmp_path):
    command = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(tmp_path)]
    subprocess.run(command, cwd=toy.ROOT, check=True, capture_output=True, timeout=120)
    built = {path.name for path in (tmp_path / "plugins" / "analysis" / "report").iterdir()}
    assert {"page.html", "page.css", "page.js", "page.py"} <= built
