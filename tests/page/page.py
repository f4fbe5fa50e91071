"""The page at / in headless Chromium, for page.bats.

    page.py CHECK URL [WORD...]      one of the check_ functions below; prints what was found, and ends with 1, when it is not so
    page.py screenshots URL FOLDER   how it looks, light and dark, wide and narrow, with an answer and with a problem
"""

import contextlib
import importlib.resources
import json
import re
import sys
import time
import urllib.request

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

SECONDS = 20
FAMILY = "\U0001F468\u200d\U0001F469\u200d\U0001F467"
HEBREW = "\u05e9\u05dc\u05d5\u05dd"


@contextlib.contextmanager
def browser(scripts=True):
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--no-proxy-server",
                 "--disable-background-networking", "--disable-component-update", "--no-first-run", "--window-size=900,1000"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    if not scripts:
        options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
    driver = webdriver.Chrome(options, webdriver.ChromeService("/usr/bin/chromedriver"))
    try:
        yield driver
    finally:
        driver.quit()


# ---- words ----

def expect(expected, actual, what):
    if expected != actual:
        raise AssertionError(f"{what}\n  expected: {expected!r:.500}\n  actual:   {actual!r:.500}")


def expect_match(pattern, text, what):
    if not re.search(pattern, text):
        raise AssertionError(f"{what}\n  expected a match of: {pattern}\n  actual: {text!r:.500}")


def wait_for(what, look):
    """Until look() is true; returns that."""
    deadline = time.monotonic() + SECONDS
    while not (found := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"gave up waiting for: {what}")
        time.sleep(0.02)
    return found


def text_of(driver, name):
    return driver.find_element(By.ID, name).get_property("textContent")


def transformed(url, message):
    """What the API makes of it: these tests need not know what the services compute."""
    body = json.dumps({"message": message}).encode()
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url + "/api", body) as reply:
        return json.load(reply)["message"]


def write(driver, message):
    """As somebody who pastes it; the driver cannot type characters beyond U+FFFF."""
    driver.execute_script("const field = document.getElementById('message'); field.value = JSON.parse(arguments[0]);"
                          "field.dispatchEvent(new Event('input', {bubbles: true}))", json.dumps(message))


def await_answer(driver, url, message):
    expected = transformed(url, message)
    wait_for(f"the answer to {message!r}", lambda: text_of(driver, "reversed") == expected and text_of(driver, "problem") == "")


def complaints(driver):
    """What the console has, but for what Chromium says of every error of HTTP."""
    return [entry["message"] for entry in driver.get_log("browser")
            if "the server responded with a status of" not in entry["message"]]


def expect_no_violation(driver, what):
    """By axe-core, in both colour schemes."""
    driver.execute_script((importlib.resources.files("axe_playwright_python") / "axe.min.js").read_text())
    for scheme in "light", "dark":
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
        found = driver.execute_async_script("axe.run().then(arguments[0])")
        expect([], [f"{one['id']}: {one['help']}: {one['nodes'][0]['html']}" for one in found["violations"]],
               f"axe-core's violations, {what}, {scheme}")
        expect(True, len(found["passes"]) > 10, "axe-core has looked")


# ---- checks ----

def check_live(url):
    """The answer comes while one types, with its number, its id, and the time of each hop. Prints the id."""
    with browser() as driver:
        driver.get(url)
        await_answer(driver, url, "hello")
        driver.find_element(By.ID, "message").send_keys(Keys.CONTROL + "a")
        driver.find_element(By.ID, "message").send_keys("one by one")
        await_answer(driver, url, "one by one")
        expect_match(r"^0\.\d+$", text_of(driver, "number"), "the number")
        hops = [row.text for row in driver.find_elements(By.CSS_SELECTOR, "#hops tr")]
        expect(3, len(hops), f"hops, which are {hops}")
        for name, hop in zip(("This browser to nginx, and back", "nginx to app", "nginx to transform"), hops):
            expect_match(rf"^{name} (under 1|\d+) ms$", hop, "a hop")
        spoken = f"Reversed: {transformed(url, 'one by one')}"
        wait_for("what a screen reader says", lambda: text_of(driver, "spoken") == spoken)
        expect([], complaints(driver), "the console")
        print(text_of(driver, "request-id"))


def check_texts(url):
    """Emoji, text from right to left, line ends, quotes and what looks like HTML come back as the API has them."""
    with browser() as driver:
        driver.get(url)
        for message in (FAMILY + " ab", HEBREW + " 1", "<b>&amp;\"'\\", "a\nb", "  two  spaces  ", ""):
            write(driver, message)
            await_answer(driver, url, message)
        for message, direction in (HEBREW, "rtl"), ("abc", "ltr"):
            write(driver, message)
            await_answer(driver, url, message)
            for name in "message", "reversed":
                expect(direction, driver.find_element(By.ID, name).value_of_css_property("direction"), f"direction of {name}")
        expect([], complaints(driver), "the console")


def check_refused(url):
    """A 400 says what is wrong, marks the last answer as old, and goes with the next message."""
    with browser() as driver:
        driver.get(url)
        await_answer(driver, url, "hello")
        write(driver, "\ud800")
        wait_for("the problem", lambda: text_of(driver, "problem"))
        expect_match("^This message cannot be taken", text_of(driver, "problem"), "the problem")
        expect_match(r"A lone surrogate \(.*\)\.$", text_of(driver, "problem"), "the problem")
        expect("old", driver.find_element(By.ID, "reversed").get_attribute("class"), "the last answer's class")
        expect_no_violation(driver, "with a problem")
        write(driver, "hello")
        await_answer(driver, url, "hello")
        expect("", driver.find_element(By.ID, "reversed").get_attribute("class"), "the answer's class")


def check_failing(url):
    """A 502 says so, and is over by itself once the services answer again. Prints "shown" in between."""
    with browser() as driver:
        driver.get(url)
        wait_for("the problem", lambda: text_of(driver, "problem"))
        expect_match(r"^There is no answer at the momentA service behind this server does not answer\. "
                     r"This page tries again every 2 seconds\.$", text_of(driver, "problem"), "the problem")
        expect("alert", driver.find_element(By.ID, "problem").get_attribute("role"), "role of the problem")
        print("shown", flush=True)
        wait_for("the end of the problem", lambda: text_of(driver, "problem") == "" and text_of(driver, "reversed"))
        expect([], complaints(driver), "the console")


def check_form(url):
    """Without JavaScript the form works by itself."""
    with browser(scripts=False) as driver:
        driver.get(url)
        field, button = driver.find_element(By.ID, "message"), driver.find_element(By.TAG_NAME, "button")
        expect(False, driver.find_element(By.ID, "live").is_displayed(), "the live part is shown")
        for message in "hello", "q\"<b>&\\ ü+%41=":
            field.clear()
            field.send_keys(message)
            button.click()
            driver.switch_to.frame(driver.find_element(By.TAG_NAME, "iframe"))
            expected = json.dumps(transformed(url, message), ensure_ascii=False)
            wait_for(f"the answer {expected}", lambda: driver.find_element(By.TAG_NAME, "body").text.startswith(expected + "\n"))
            expect_match(r"\nNumber: 0\.\d+$", driver.find_element(By.TAG_NAME, "body").text, "the answer")
            driver.switch_to.default_content()


def check_accessible(url):
    """axe-core finds nothing; the keyboard reaches all; 320 pixels are wide enough (WCAG 1.4.10)."""
    with browser() as driver:
        driver.get(url)
        await_answer(driver, url, "hello")
        expect_no_violation(driver, "with an answer")
        way = [driver.switch_to.active_element.tag_name]
        for _ in range(3):
            driver.switch_to.active_element.send_keys(Keys.TAB)
            way.append(driver.switch_to.active_element.tag_name)
            expect("solid", driver.switch_to.active_element.value_of_css_property("outline-style"), f"outline of {way[-1]}")
        expect(["textarea", "pre", "a", "a"], way, "where Tab goes")
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                               {"width": 320, "height": 600, "deviceScaleFactor": 1, "mobile": False})
        wide = driver.execute_script("const page = document.documentElement; return page.scrollWidth - page.clientWidth")
        expect(0, wide, "pixels beyond the right edge, at 320 pixels")


def check_alone(url):
    """All comes from this server, and is less than 15 KiB."""
    with browser() as driver:
        driver.get(url)
        await_answer(driver, url, "hello")
        parts = driver.execute_script("return performance.getEntriesByType('resource').concat("
                                      "performance.getEntriesByType('navigation')).map(one => [one.name, one.decodedBodySize])")
        expect([], [name for name, _ in parts if not name.startswith(url + "/")], "from elsewhere")
        size = sum(size for _, size in parts)
        expect(True, 5000 < size < 15 * 1024, f"5000 < {size} < 15 KiB, of {parts}")


def screenshots(url, folder):
    with browser() as driver:
        driver.get(url)
        for scheme in "light", "dark":
            driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
            for width in 320, 900:
                driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                                       {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False})
                for name, message in ("answer", f"hello {FAMILY} {HEBREW}"), ("problem", "\ud800"):
                    write(driver, message)
                    wait_for(name, lambda: (text_of(driver, "problem") != "") == (name == "problem"))
                    driver.save_screenshot(f"{folder}/{name}-{scheme}-{width}.png")


if __name__ == "__main__":
    run = screenshots if sys.argv[1] == "screenshots" else globals()["check_" + sys.argv[1]]
    try:
        run(*sys.argv[2:])
    except AssertionError as fault:
        sys.exit(str(fault))
