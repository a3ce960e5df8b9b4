"""A real Chromium without a display, driven over the WebDriver protocol with the standard library only."""

import base64
import contextlib
import json
import re
import shutil
import subprocess
import urllib.error
import urllib.request

import pytest

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key of an element's id, from the W3C's specification
KEYS = {"Tab": "\ue004", "Enter": "\ue007", "End": "\ue010", "Home": "\ue011", "Left": "\ue012", "Up": "\ue013",
        "Right": "\ue014", "Down": "\ue015", "Space": " "}  # fmt: skip


def missing():
    """Return why there is no browser, or None."""
    absent = [program for program in ("chromium", "chromedriver") if shutil.which(program) is None]
    return f"needs {' and '.join(absent)} (on Debian: apt-get install chromium chromium-driver)" if absent else None


MARKS = [pytest.mark.slow, pytest.mark.skipif(missing() is not None, reason=str(missing()))]  # of a file that needs one


@contextlib.contextmanager
def browser(profile):
    """Start Chromium with a fresh profile in a folder, and yield a :class:`Page`."""
    driver = subprocess.Popen(
        ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        port = next(
            found[1] for line in driver.stdout if (found := re.search(r"started successfully on port (\d+)", line))
        )
        options = {"args": [*FLAGS, f"--user-data-dir={profile}"], "binary": shutil.which("chromium")}
        capabilities = {"browserName": "chrome", "goog:chromeOptions": options,
                        "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}  # fmt: skip
        page = Page(f"http://127.0.0.1:{port}/session")
        page.url += "/" + page.ask("POST", "", {"capabilities": {"alwaysMatch": capabilities}})["sessionId"]
        try:
            yield page
        finally:
            page.ask("DELETE", "")
    finally:
        driver.terminate()
        driver.wait(timeout=20)
        driver.stdout.close()


class Page:
    """A page in the browser: what a reader can do, and how the page responds."""

    def __init__(self, url):
        self.url = url

    def ask(self, method, path, body=None):
        data = None if method in ("GET", "DELETE") else json.dumps(body or {}).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(json.load(error)["value"]["message"]) from None

    def open(self, path, width=1280, height=900, scheme="light", touch=False):
        """Open a file in a window of some size, in a color scheme."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": touch}
        self.devtools("Emulation.setDeviceMetricsOverride", **size)
        self.devtools("Emulation.setTouchEmulationEnabled", enabled=touch)
        self.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.log("browser"), self.log("performance")  # discard earlier messages
        self.ask("POST", "/url", {"url": path.resolve().as_uri()})

    def devtools(self, command, **parameters):
        return self.ask("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def log(self, kind):
        """Return the messages of the ``browser``, or of its ``performance``, since the last call."""
        return [entry["message"] for entry in self.ask("POST", "/se/log", {"type": kind})]

    def requests(self):
        """Return the addresses that were requested since the last call of this method or :meth:`open`."""
        events = (json.loads(message)["message"] for message in self.log("performance"))
        return [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]

    def run(self, code, *arguments):
        """Run JavaScript and return what it returns."""
        return self.ask("POST", "/execute/sync", {"script": code, "args": list(arguments)})

    def find(self, selector):
        found = self.ask("POST", "/element", {"using": "css selector", "value": selector})
        return found[ELEMENT]

    def click(self, selector):
        self.ask("POST", f"/element/{self.find(selector)}/click")

    def text(self, selector):
        """Return the text of an element, seen or unseen."""
        return self.run("return document.querySelector(arguments[0]).textContent", selector)

    def press(self, *keys):
        """Press keys one after another, on the focused element."""
        actions = [{"type": kind, "value": KEYS.get(key, key)} for key in keys for kind in ("keyDown", "keyUp")]
        self.ask("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def hover(self, selector, kind="mouse", press=False):
        """Move the mouse, or a finger (``touch``), to the middle of an element; a press follows if requested."""
        target = {"type": "pointerMove", "origin": {ELEMENT: self.find(selector)}, "x": 0, "y": 0, "duration": 0}
        presses = [{"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}] if press else []
        pointer = {"type": "pointer", "id": kind, "parameters": {"pointerType": kind}, "actions": [target, *presses]}
        self.ask("POST", "/actions", {"actions": [pointer]})

    def screenshot(self, path):
        """Save a picture of the whole page."""
        size = self.devtools("Page.getLayoutMetrics")["cssContentSize"]
        options = {"captureBeyondViewport": True, "clip": {**size, "scale": 1}}
        path.write_bytes(base64.b64decode(self.devtools("Page.captureScreenshot", **options)["data"]))
