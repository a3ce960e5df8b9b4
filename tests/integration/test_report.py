"""The page of a report in a real Chromium: display, mouse, keyboard, and no network requests."""

import browser
import hand_built
import pytest

from plugins.analysis.report import page as pages

pytestmark = browser.MARKS
HEBREW = "בראשית ברא"
HOSTILE = "</script><img src=x onerror='document.title=1'>"
PICTURE = "return document.querySelector(arguments[0]).toDataURL()"


@pytest.fixture
def show(open_html):
    """Open the page of a report."""
    return lambda report, **how: open_html(pages.render(report), **how)


def weights(page):
    """Return the list below the tokens: [(token and position, weight)]."""
    rows = page.run("return [...document.querySelectorAll('#weights li')].map((row) => [...row.children].map("
                    "(cell) => cell.textContent))")  # fmt: skip
    return [(token, float(weight)) for token, _, weight in rows]


def said(page):
    """Return the description of the attention for screen readers."""
    return page.text("#spoken")


def test_it_opens_in_two_seconds(show):
    """Measured in time of the page's thread, since tests share their machine; the wall-clock time is printed too."""
    page = show(hand_built.report())
    page.devtools("Performance.enable", timeDomain="threadTicks")
    page.ask("POST", "/refresh")
    metrics = {entry["name"]: entry["value"] for entry in page.devtools("Performance.getMetrics")["metrics"]}
    page.devtools("Performance.disable")
    seconds = page.run("const t = performance.timing; return (t.loadEventEnd - t.navigationStart) / 1000")
    print(f"12 layers of 12 heads on 64 tokens: {metrics['TaskDuration']:.2f} s of work, {seconds:.2f} s to load")
    assert 0.01 < metrics["TaskDuration"] < 2


def test_clicks_on_heads_change_the_picture(show):
    page = show(hand_built.report())
    page.run("document.querySelector('#tokens-5').click()")
    assert page.text("#head-title") == "Layer 0, head 0"
    assert weights(page) == [("r 5", 1.0)]  # token 6, an i, looks at the one before
    before = page.run(PICTURE, "#matrix")
    page.click("#heads [aria-label='Layer 0, head 1']")
    assert page.text("#head-title") == "Layer 0, head 1"
    assert weights(page) == [(f"{token} {i}", 0.17) for i, token in enumerate(["T", "h", "e", "space", "r", "i"], 1)]
    assert page.run(PICTURE, "#matrix") != before
    assert page.run("return [...document.querySelectorAll('#heads [aria-pressed=true]')].map(b => b.title)") == [
        "Layer 0, head 1"
    ]


def test_every_head_is_drawn_small_and_differs(show):
    page = show(hand_built.report())
    pictures = page.run("return [...document.querySelectorAll('#heads canvas')].map((c) => c.toDataURL())")
    assert len(pictures) == 144 and len(set(pictures)) == 144


def test_the_page_can_be_used_with_the_keyboard(show):
    page = show(hand_built.report())
    page.run("document.querySelector('#model > details > summary').focus()")
    page.press("Tab")
    assert page.run("return document.activeElement.title") == "Layer 0, head 0"
    page.press("Right", "Down")
    assert page.text("#head-title") == "Layer 1, head 1"
    page.press("Up", "Left", "Up")
    assert page.text("#head-title") == "Layer 0, head 0"
    page.press("Tab", "Tab")
    assert page.run("return document.activeElement.id") == "tokens"
    page.press("Home", "Right", "Right")
    assert said(page) == "Layer 0, head 0: e, token 3 of 64, looks at h, token 2, 1.00."
    page.press("End", "Left")
    assert said(page) == "Layer 0, head 0: a, token 63 of 64, looks at t, token 62, 1.00."


def test_arrows_go_to_the_line_above_and_below(show):
    page = show(hand_built.report("abcd\nefgh\nijkl"))
    page.run("document.querySelector('#tokens-6').click(); document.querySelector('#tokens').focus()")  # f
    page.press("Down")
    assert "j, token 12 of 14" in said(page)
    page.press("Up", "Up")
    assert "b, token 2 of 14" in said(page)


def test_the_page_shows_attention_to_a_selected_token(show):
    page = show(hand_built.report())
    page.run("document.querySelector('#tokens-5').click()")
    page.run("document.querySelectorAll('#direction input')[1].click()")
    assert said(page) == "Layer 0, head 0: i, token 6 of 64, is seen by v, token 7, 1.00."


def test_pointing_shows_a_token_and_leaving_returns(show):
    page = show(hand_built.report())
    chosen = weights(page)
    page.hover("#tokens-9")
    assert weights(page) == [("r 9", 1.0)]
    page.hover("#head-title")
    assert weights(page) == chosen


def test_pointing_at_the_large_picture_names_the_pair(show):
    page = show(hand_built.report(hand_built.LINE[:9], 1, 2))
    page.run("document.querySelector('#matrix').scrollIntoView({block: 'center'})")
    page.hover("#matrix")
    words = page.text("#cell").replace("(", "").replace(")", "").replace(":", "").split()
    query, key, weight = int(words[1]), int(words[5]), float(words[6])
    assert words[2:4] == ["looks", "at"] and abs(query - 5) <= 1 and abs(key - 5) <= 1
    assert weight == (1.0 if key == query - 1 else 0.0)


def test_touch_selects_a_token_and_a_head_on_a_phone(show):
    page = show(hand_built.report(), width=390, height=844, touch=True)
    page.run("document.querySelector('#tokens').scrollIntoView({block: 'center'})")
    page.hover("#tokens-20", kind="touch", press=True)
    assert "token 21 of 64, looks at" in said(page)
    page.click("#heads [aria-label='Layer 11, head 11']")
    assert said(page).startswith("Layer 11, head 11: ")


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_not_wider_than_the_window(show, width, scheme):
    page = show(hand_built.report(title="a" * 80), width=width, height=844, scheme=scheme)
    assert page.run("return document.documentElement.scrollWidth") <= width
    dark = page.run("return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).every((c) => c < 60)")
    assert dark == (scheme == "dark")


def test_a_change_of_the_color_scheme_redraws(show):
    page = show(hand_built.report())
    light = page.run(PICTURE, "#heads canvas")
    page.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    # The page is notified of the change with its next frame.
    page.run("return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert page.run(PICTURE, "#heads canvas") != light


def test_maps_lead_to_heads(show):
    page = show(hand_built.report("ab cd", 3, 3))
    page.click("#maps button")
    assert page.text("#head-title") == "Layer 2, head 2"
    page.run("document.querySelector('#maps canvas').scrollIntoView({block: 'center'})")
    page.hover("#maps canvas", press=True)
    assert page.text("#head-title") == "Layer 1, head 1"


def test_the_ribbon_names_the_style(show):
    page = show(hand_built.report())
    page.run("document.querySelector('#ribbon').focus()")
    page.press("Home", "Right")
    assert page.text("#style-spoken") == "After b, character 2: drama 0.90, novel 0.10"
    assert page.text("#style-keys") == "drama 0.90novel 0.10"
    assert "90%" in page.run("return document.querySelector('#ribbon-1').style.backgroundImage")


def test_masks_can_be_selected(show):
    page = show(hand_built.report())
    assert page.text(".passage") == "The <mask> carries a letter."
    assert page.text("#passages .right bdi") == "river"
    page.click(".passage button:nth-of-type(2)")
    assert page.text(".passage") == "The river carries a <mask>."
    answers = page.run("return [...document.querySelectorAll('#passages .bars li')].map((row) => row.textContent)")
    assert answers == ["letter0.75", "song0.10", "ship0.05", "name0.02", "tax0.01"]


def test_samples_are_selected_by_style_and_temperature(show):
    page = show(hand_built.report())
    assert page.text("#sample") == "Once warm"
    page.run("document.querySelector('#sample-styles input[value=\"1\"]').click()")
    assert page.text("#sample") == "Once warm drama"
    page.run("document.querySelector('#temperatures input').focus()")
    page.press("Space")
    assert page.text("#sample") == "Once cold drama"


def test_symbols_are_visible_and_markup_is_shown_as_text(show):
    tokens = ["<s>", " the", " <mask>", HOSTILE, "constructor", "__proto__", "\n", "</s>"]
    report = hand_built.report(tokens, 1, 2, title=HOSTILE)
    report["styles"]["names"] = report["samples"]["styles"] = [HOSTILE, "novel"]
    report["samples"]["texts"][0] = [HOSTILE] * 2
    report["masks"][0]["slots"][0] = {"truth": HOSTILE, "answers": [[HOSTILE, 0.5]]}
    page = show(report)
    assert (
        page.run("return document.querySelector('#tokens').innerText")
        == "<s> the <mask>" + "".join(tokens[3:6]) + "↵\n</s>"
    )
    assert page.run("return document.querySelectorAll('img').length") == 0
    assert page.run("return document.title") == HOSTILE
    assert page.text("#sample") == "Once" + HOSTILE
    page.run("document.querySelector('#tokens-4').click()")
    assert said(page) == f"Layer 0, head 0: constructor, token 5 of 8, looks at {HOSTILE}, token 4, 1.00."


def test_hebrew_runs_from_right_to_left(show):
    page = show(hand_built.report(["<s>", *HEBREW], 1, 2))
    left = "return document.getElementById(arguments[0]).getBoundingClientRect().left"
    assert page.run(left, "tokens-2") < page.run(left, "tokens-1") < page.run(left, "tokens-0")
    page.run("document.querySelector('#tokens').focus()")
    page.press("Home", "Left", "Left")
    assert "ר, token 3 of 11" in said(page)
    assert page.text("#cell") == "Queries downwards, keys across, right to left."
    corner = """const pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
        pen.drawImage(document.querySelector("#heads canvas"), 0, 0);
        return [0, 10].map((x) => [...pen.getImageData(x, 0, 1, 1).data])"""
    left, right = page.run(corner)  # of the row of the first token, which looks at itself
    assert sum(right[:3]) < sum(left[:3]) - 300  # darker


def test_without_scripts_the_page_shows_the_card_and_names_what_is_missing(show):
    page = show(hand_built.report(model={"card": [{"name": "Facts", "facts": [["Layers", "12"]]}], "options": []}))
    page.devtools("Emulation.setScriptExecutionDisabled", value=True)
    try:
        page.ask("POST", "/refresh")
        source = page.ask("GET", "/source")
    finally:
        page.devtools("Emulation.setScriptExecutionDisabled", value=False)
    assert "<dt>Layers</dt><dd><bdi>12</bdi></dd>" in source and "scripts are switched off" in source


def test_the_page_opens_on_the_head_it_is_given_and_on_a_letter(show):
    report = hand_built.report("ab\n\n\n\n\n\n", 1, 3)
    report["attention"]["head"] = 2
    page = show(report)
    assert said(page).startswith("Layer 0, head 2: b, token 2 of 8")


def test_surprise_shows_the_true_token_and_the_models_first_choices(show):
    page = show(hand_built.report())
    page.run("document.querySelector('#surprise').focus()")
    page.press("End")
    assert page.text("#surprise-spoken") == (
        "c, token 3: 5.0 bits of surprise, probability 0.031. First choices: a 0.04, b 0.03"
    )
    assert page.run("return document.querySelector('#choices i').style.width") == "80%"  # of a scale up to 0.05
    page.press("Home")
    assert "not predicted" in page.text("#surprise-asked")
    colors = page.run("return [...document.querySelectorAll('#surprise span')].map((s) => s.style.backgroundColor)")
    assert colors[0] == "" and colors[1] != colors[2]


def test_labels_of_the_matrix_have_room_at_every_width(show):
    for width in (390, 1280):
        page = show(hand_built.report(), width=width)
        size = page.run("return document.querySelector('#matrix').clientWidth")
        assert size / 66 >= 10  # pixels a cell, of 64 tokens with their labels
        assert page.run("return document.documentElement.scrollWidth") <= width


def test_the_card_is_folded_only_on_a_phone(show):
    open_ = "return [...document.querySelectorAll('.card details')].map((group) => group.open)"
    assert show(hand_built.report(), width=390).run(open_) == [False]
    assert show(hand_built.report(), width=1280).run(open_) == [True]


def test_bars_of_weak_answers_can_be_seen(show):
    report = hand_built.report()
    report["masks"][0]["slots"][0]["answers"] = [["sea", 0.04], ["hill", 0.01]]
    page = show(report)
    widths = page.run("return [...document.querySelectorAll('#passages i')].map((bar) => bar.style.width)")
    assert widths == ["80%", "20%"] and "0.05" in page.text("#passages .axes")
