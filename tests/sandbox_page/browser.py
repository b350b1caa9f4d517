"""The page as a test sees it: find, wait, type, press."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

WITHIN = 15
T = TypeVar("T")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)


def start(
    chromium: str, chromedriver: str, *, width: int = 1280, height: int = 900, phone: bool = False
) -> webdriver.Chrome:
    """Start Chromium; a phone has a touch screen and twice the pixels."""
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--window-size={width},{height}"):
        options.add_argument(flag)
    if phone:
        metrics = {"width": width, "height": height, "pixelRatio": 2, "touch": True}
        options.add_experimental_option("mobileEmulation", {"deviceMetrics": metrics})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(chromedriver))


class PageView:
    """One member's browser window."""

    def __init__(self, driver: webdriver.Chrome, address: str, artifacts: Path) -> None:
        self.driver = driver
        self.address = address
        self._artifacts = artifacts

    def open(self, member: str, channel: str) -> None:
        """Open the page and sit down as a member in a channel, both by name."""
        self.driver.get(self.address)
        self.one(f"//button[@data-channel][.//*[text()='{channel}']]").click()
        self.become(member)

    def become(self, member: str) -> None:
        """Switch to another member and wait until their view has loaded."""
        self.one(f"//button[@data-member][.//*[text()='{member}']]").click()
        self.wait(lambda: member in str(self.one("[data-composer-text]").get_attribute("placeholder")))

    def all(self, where: str) -> list[WebElement]:
        """Find what matches a CSS selector, or an XPath that starts with a slash."""
        return self.driver.find_elements(By.XPATH if where.startswith("/") else By.CSS_SELECTOR, where)

    def one(self, where: str, text: str = "") -> WebElement:
        """Wait for the last visible match that contains a text."""

        def look() -> WebElement | None:
            found = [element for element in self.all(where) if element.is_displayed() and text in element.text]
            return found[-1] if found else None

        return self.wait(look, f"{where} {text}")

    def none(self, where: str) -> None:
        """Wait until nothing matches visibly."""
        self.wait(lambda: not any(element.is_displayed() for element in self.all(where)), f"no {where}")

    def wait(self, look: Callable[[], T | None], what: str = "it") -> T:
        """Wait until a look gives something true."""
        waiting = WebDriverWait(self.driver, WITHIN, 0.05, ignored_exceptions=[StaleElementReferenceException])
        found: T = waiting.until(lambda _: look(), f"waited {WITHIN} s for {what}")  # type: ignore[assignment]
        return found

    def type(self, *keys: str) -> None:
        """Press keys wherever the focus is."""
        self.driver.switch_to.active_element.send_keys(*keys)

    def command(self, line: str) -> None:
        """Type a command line into the composer, key by key, and send it."""
        self.one("[data-composer-text]").send_keys(line)
        self.type(Keys.ENTER)

    def press(self, message: WebElement, label: str) -> None:
        """Press a message's button."""
        message.find_element(By.CSS_SELECTOR, f'[data-component="button"][data-label="{label}"]').click()

    def run(self, script: str, *arguments: Any) -> Any:
        """Run JavaScript that may await; `arguments` are `args[0]` and so on."""
        head = "const args = [...arguments], done = args.pop();"
        body = f"(async () => {{ {script} }})().then(done, (error) => done('failed: ' + error));"
        return self.driver.execute_async_script(head + body, *arguments)

    def picture(self, name: str) -> None:
        """Save a screenshot."""
        self._artifacts.mkdir(exist_ok=True)
        self.driver.save_screenshot(str(self._artifacts / f"{name}.png"))
