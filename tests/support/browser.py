"""A headless Chromium, driven by its DevTools protocol over a pipe."""

import json
import os
import shutil
import subprocess
import time

import pytest

_FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
]


class Browser:
    """One page of a browser.

    Attributes:
        asked: Addresses that the page asked for.
        console: What it wrote to the console, and what the browser complained of.
    """

    def __init__(self, profile):
        program = next(
            filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None
        )
        if not program:
            pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
        (read, commands), (events, written) = os.pipe(), os.pipe()
        # The browser reads from 3 and writes to 4.
        script = f'exec "$@" 3<&{read} 4>&{written}'
        command = ["bash", "-c", script, "browser", program, *_FLAGS, f"--user-data-dir={profile}", "about:blank"]
        nowhere = subprocess.DEVNULL
        self._process = subprocess.Popen(command, pass_fds=(read, written), stdout=nowhere, stderr=nowhere)
        os.close(read)
        os.close(written)
        self._commands, self._events = os.fdopen(commands, "wb"), os.fdopen(events, "rb")
        self._number, self._session, self._rest = 0, None, b""
        self.asked, self.console = [], []
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(one["targetId"] for one in targets if one["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "DOM"):
            self.call(f"{domain}.enable")

    def close(self):
        """Ends the browser."""
        self._process.terminate()
        self._process.wait()
        self._commands.close()
        self._events.close()

    def call(self, method, **params):
        """Calls a method of the protocol; returns its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._commands.write(json.dumps(message).encode() + b"\0")
        self._commands.flush()
        while (answer := self._read()).get("id") != self._number:
            self._note(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _read(self):
        while b"\0" not in self._rest:
            chunk = self._events.read1(1 << 20)
            assert chunk, "the browser ended"
            self._rest += chunk
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def _note(self, event):
        params = event.get("params", {})
        if event["method"] == "Network.requestWillBeSent":
            self.asked.append(params["request"]["url"])
        elif event["method"] == "Runtime.consoleAPICalled":
            self.console.append(str(params["args"]))
        elif event["method"] == "Log.entryAdded":
            self.console.append(params["entry"]["text"])
        elif event["method"] == "Runtime.exceptionThrown":
            self.console.append(str(params["exceptionDetails"]))

    def run(self, script):
        """Runs a script in the page; returns its value."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait(self, script):
        """Waits until the value of a script is true; fails after a minute."""
        deadline = time.monotonic() + 60
        while not self.run(script):
            assert time.monotonic() < deadline, f"waited for a minute: {script}; {self.console}"
            time.sleep(0.05)

    def open(self, address):
        """Opens a page, and waits until it is complete."""
        self.call("Page.navigate", url=address)
        self.wait(f"location.href.startsWith({address!r}) && document.readyState === 'complete'")

    def press(self, key, code, text=""):
        """Presses a key."""
        for kind in ("keyDown", "keyUp"):
            extra = {"text": text} if text and kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **extra)

    def choose(self, selector, paths):
        """Chooses files, as the dialog of an input would."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path) for path in paths])

    def look(self, width, height, scheme="light"):
        """Sets the size of the window and the color scheme."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
