"""Fixtures of the tests in a real browser."""

import browser
import pytest


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page of a browser that the tests of a file share."""
    with browser.browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def open_html(page, tmp_path):
    """Open a page from its HTML; assert at the end of the test that it logged no error and sent no request."""

    def open_html(html, **how):
        path = tmp_path / "page.html"
        path.write_text(html, encoding="utf-8")
        page.open(path, **how)
        return page

    yield open_html
    assert page.log("browser") == []
    own = ("file:", "data:", "blob:", "chrome:", "chrome-untrusted:")  # the last two are of the browser's start page
    assert [url for url in page.requests() if not url.startswith(own)] == []
