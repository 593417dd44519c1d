"""A real headless Chromium for tests: the DevTools protocol through a pipe, so that no port and no driver is needed."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from fcntl import F_DUPFD, fcntl
from functools import partial
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE = 20.0


def program() -> str | None:
    """Where Chromium is installed, if it is."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One browser without a window. Use it as a context manager."""

    def __init__(self) -> None:
        self._profile = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        below, self._out = os.pipe()
        self._in, above = os.pipe()
        found = program()
        assert found
        command = [
            found, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run",
            "--disable-dev-shm-usage", "--hide-scrollbars", f"--user-data-dir={self._profile.name}", "about:blank",
        ]  # fmt: skip
        # The protocol wants descriptors 3 and 4; a shell puts them there without code between fork and exec.
        commands, answers = (fcntl(each, F_DUPFD, 10) for each in (below, above))
        line = f'exec 3<&{commands} 4>&{answers} {commands}<&- {answers}>&-; exec "$@"'
        self._process = subprocess.Popen(
            ["bash", "-c", line, "bash", *command], pass_fds=(commands, answers), stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        for each in (below, above, commands, answers):
            os.close(each)
        self._rest = b""
        self._last = 0
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        os.close(self._in)
        os.close(self._out)
        self._profile.cleanup()

    def send(self, method: str, session: str = "", **params: Any) -> dict[str, Any]:
        """The answer to one command; events that come meanwhile are kept."""
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + PATIENCE
        while True:
            answer = self._receive(end)
            if answer.get("id") == message["id"]:
                assert "error" not in answer, f"{method}: {answer['error']}"
                found: dict[str, Any] = answer["result"]
                return found
            self.events.append(answer)

    def _receive(self, end: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._in], [], [], max(0.0, end - time.monotonic()))
            read = os.read(self._in, 1 << 20) if ready else b""
            assert read, "Chromium does not answer"
            self._rest += read
        one, _, self._rest = self._rest.partition(b"\0")
        received: dict[str, Any] = json.loads(one)
        return received

    def page(self, width: int = 1280, height: int = 900, **media: str) -> Page:
        """A new page; ``prefers_color_scheme="dark"`` and the like set what media queries see."""
        return Page(self, width, height, media)


class Page:
    """One tab, which notes what goes wrong in it and what it asks the network for."""

    def __init__(self, browser: Browser, width: int, height: int, media: dict[str, str]) -> None:
        self.browser = browser
        self._target = browser.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = browser.send("Target.attachToTarget", targetId=self._target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        self.resize(width, height)
        self.emulate(**media)

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        return self.browser.send(method, self._session, **params)

    def resize(self, width: int, height: int) -> None:
        """The size of the window in CSS pixels; below 500 it is that of a phone."""
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )

    def emulate(self, *, media: str = "", **features: str) -> None:
        """What media queries see."""
        given = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        given.append({"name": "prefers-reduced-motion", "value": "reduce"})
        self.send("Emulation.setEmulatedMedia", media=media, features=given)

    def open(self, path: Path) -> None:
        """Open a file, and wait until all of it is there and its program has run."""
        self.send("Page.navigate", url=path.resolve().as_uri())
        end = time.monotonic() + PATIENCE
        while self("document.readyState") != "complete" or not self("location.href").startswith("file:"):
            assert time.monotonic() < end, f"{path} does not load"
            time.sleep(0.02)

    def __call__(self, expression: str) -> Any:
        """The value of a JavaScript expression; a promise is waited for.

        Raises:
            AssertionError: the expression throws.
        """
        return self._evaluated(self._session, expression)

    def _evaluated(self, session: str, expression: str) -> Any:
        answer = self.browser.send(
            "Runtime.evaluate", session, expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def frames(self) -> dict[str, Callable[[str], Any]]:
        """What evaluates JavaScript in each of the frames that the page holds, in the order of their identities."""
        inner = self.send("Target.getTargets", filter=[{"type": "iframe"}])["targetInfos"]
        sessions = {
            each["targetId"]: self.browser.send("Target.attachToTarget", targetId=each["targetId"], flatten=True)
            for each in inner
        }
        return {key: partial(self._evaluated, found["sessionId"]) for key, found in sorted(sessions.items())}

    def wait(self, condition: str) -> None:
        """Until a JavaScript expression is true."""
        end = time.monotonic() + PATIENCE
        while not self(condition):
            assert time.monotonic() < end, f"never true: {condition}"
            time.sleep(0.02)

    def close(self) -> None:
        """Close the tab, and forget what happened in it."""
        self.browser.send("Target.closeTarget", targetId=self._target)
        self.browser.events = [each for each in self.browser.events if each.get("sessionId") != self._session]

    def click(self, selector: str) -> None:
        """A real click in the middle of the first element of that selector, once it is in sight."""
        x, y = self(
            f"(() => {{ const each = document.querySelector({json.dumps(selector)});"
            "each.scrollIntoView({block: 'center', behavior: 'instant'});"
            "const box = each.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        self.mouse("mouseMoved", x, y)
        self.mouse("mousePressed", x, y)
        self.mouse("mouseReleased", x, y)

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """``mouseMoved``, ``mousePressed``, ``mouseReleased`` or ``mouseWheel`` at a place of the window."""
        if kind in ("mousePressed", "mouseReleased"):
            more = {"button": "left", "clickCount": 1, "buttons": int(kind == "mousePressed"), **more}
        self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def touch(self, kind: str, *fingers: tuple[float, float]) -> None:
        """``touchStart``, ``touchMove`` or ``touchEnd`` with fingers at these places of the window."""
        places = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(fingers)]
        self.send("Input.dispatchTouchEvent", type=kind, touchPoints=places)

    def type(self, text: str) -> None:
        """Letters to what has the focus."""
        self.send("Input.insertText", text=text)

    def press(self, key: str) -> None:
        """One key down and up, by its name as in ``KeyboardEvent.key``."""
        codes = {"Enter": 13, "Tab": 9, "Escape": 27, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
        text = {"text": "\r"} if key == "Enter" else {"text": key} if len(key) == 1 else {}
        code = {"windowsVirtualKeyCode": codes.get(key, ord(key[0].upper()))}
        self.send("Input.dispatchKeyEvent", type="keyDown", key=key, **text, **code)
        self.send("Input.dispatchKeyEvent", type="keyUp", key=key, **code)

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        more: dict[str, Any] = {"captureBeyondViewport": True} if whole else {}
        if whole:
            size = self.send("Page.getLayoutMetrics")["cssContentSize"]
            more["clip"] = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", **more)["data"]))

    def pdf(self) -> bytes:
        """The page as it is printed."""
        return base64.b64decode(self.send("Page.printToPDF", printBackground=True)["data"])

    @property
    def troubles(self) -> list[str]:
        """Errors and warnings of the console, and exceptions that nobody caught."""
        self("0")  # events that are on their way come first
        found = []
        for event in self._events():
            params = event["params"]
            if event["method"] == "Runtime.exceptionThrown":
                found.append(str(params["exceptionDetails"]))
            elif event["method"] == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
                found.append(str(params["args"]))
            elif event["method"] == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
                found.append(params["entry"]["text"])
        return found

    @property
    def requests(self) -> list[str]:
        """Addresses that were asked for, but for those that hold their data themselves."""
        self("0")
        asked = [e["params"]["request"]["url"] for e in self._events() if e["method"] == "Network.requestWillBeSent"]
        return [url for url in asked if not url.startswith(("data:", "blob:", "about:"))]

    def _events(self) -> list[dict[str, Any]]:
        return [each for each in self.browser.events if each.get("sessionId") == self._session]
