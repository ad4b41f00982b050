"""The page, clicked through in a browser."""

import re
import threading
import time

import cv2
import image_bytes
import numpy as np
import pytest
import uvicorn
from browser import Browser

from isic_tf.server import app, metadata

EVIL = "<img src=x onerror=alert(1)>.png"
TOKEN = "a-token-of-16-or-more"
NAMES = "[...document.querySelectorAll('#results h2')].map(one => one.textContent)"
CELLS = "[...document.querySelectorAll('#results dd')].map(one => one.textContent)"
STATUS = "document.getElementById('status').textContent"
ERROR = "document.getElementById('error').textContent"


class _Server(uvicorn.Server):
    """One in a thread, which has no signals."""

    def install_signal_handlers(self):
        pass


@pytest.fixture
def serve(service, config):
    """A function that serves with a token, and gives the address."""
    running = []

    def start(token=""):
        options = {"log_level": "warning", "access_log": False, "port": 0}
        server = _Server(uvicorn.Config(app.make_app(service, config, token), **options))
        thread = threading.Thread(target=server.run)
        thread.start()
        running.append((server, thread))
        while not server.started:
            time.sleep(0.01)
        return f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"

    yield start
    for server, thread in running:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def photos(tmp_path):
    """Three images whose scores differ, one with an evil name."""
    paths = []
    for place, name in enumerate(["light.png", EVIL, "dark.png"]):
        image = cv2.resize(image_bytes.SMOOTH // (place + 1), (320, 240), interpolation=cv2.INTER_CUBIC)
        paths.append(tmp_path / name)
        paths[-1].write_bytes(image_bytes.png(image))
    return paths


def test_images_are_shown_by_suspicion_and_the_slider_changes_their_probabilities(browser, serve, photos, service):
    address = serve()
    browser.asked.clear(), browser.console.clear()
    browser.open(address)
    assert "Not a medical device" in browser.run("document.body.innerText")
    browser.choose("#files", photos)
    browser.wait(f"{NAMES}.length === 3")
    images = browser.run("state.images.map(one => [one.name, one.score, one.probability])")
    ordered = sorted(images, key=lambda one: -one[1])
    assert browser.run(NAMES) == [name for name, _, _ in ordered]
    assert EVIL in browser.run(NAMES)
    assert browser.run(STATUS) == f"3 images judged. The most suspicious: {ordered[0][0]}."
    # At the run's own prevalence, which the slider has no place for.
    assert browser.run("prevalence()") == service.collect_facts().prevalence
    own = service.calibrate(np.array(browser.run("state.images.map(one => one.fold_scores)")), None)
    assert [probability for _, _, probability in images] == pytest.approx([one.probability for one in own])
    # Pictures show, and have texts.
    pictures = browser.run("[...document.images].map(one => [one.naturalWidth, one.alt])")
    assert len(pictures) == 6
    assert all(width == 32 and text for width, text in pictures)
    before = browser.run(CELLS)
    browser.run("find('prevalence').value = -2; find('prevalence').dispatchEvent(new Event('input'))")
    browser.wait(f"JSON.stringify({CELLS}) !== JSON.stringify({before!r})")
    assert browser.run("find('prevalence-text').textContent") == "1.0\N{NO-BREAK SPACE}%"
    scores = browser.run("state.images.map(one => one.fold_scores)")
    wanted = [one.probability for one in service.calibrate(np.array(scores), 0.01)]
    assert browser.run("state.images.map(one => one.probability)") == pytest.approx(wanted)
    shown = browser.run("state.images.map(one => one.probabilityCell.textContent)")
    assert [float(text.split()[0]) for text in shown] == pytest.approx([100 * one for one in wanted], abs=0.06)
    browser.run("find('clear').click()")
    browser.wait(f"{NAMES}.length === 0")
    # Nothing of it was run or asked of anyone else.
    assert browser.console == []
    assert all(one.startswith((address, "data:")) for one in browser.asked)


def test_the_keyboard_alone_suffices_and_problems_are_announced(browser, serve, photos, tmp_path):
    browser.open(serve())
    focused = []
    for _ in range(3):
        browser.press("Tab", 9)
        focused.append(browser.run("document.activeElement.id"))
    assert focused[:2] == ["files", "prevalence"]
    browser.run("find('prevalence').focus()")
    before = browser.run("find('prevalence').value")
    browser.press("ArrowLeft", 37)
    assert float(browser.run("find('prevalence').value")) == pytest.approx(float(before) - 0.01)
    (tmp_path / "notes.png").write_text("text")
    browser.choose("#files", [photos[0], tmp_path / "notes.png"])
    browser.wait(f"{ERROR} !== ''")
    assert "notes.png" in browser.run(ERROR)
    assert browser.run("find('error').getAttribute('role')") == "alert"
    browser.run("find('clear').focus()")
    browser.press("Enter", 13, "\r")
    browser.wait(f"{ERROR} === '' && document.activeElement.id === 'files'")
    browser.choose("#files", [*photos, *photos])
    browser.wait(f"{ERROR} === 'At most 4 images, got 6.'")


def test_metadata_are_sent_with_the_images_and_again_where_they_change(browser, serve, photos, service, monkeypatch):
    sent, judge = [], service.judge

    def keep(form, *options):
        sent.append(form.values)
        return judge(form, *options)

    monkeypatch.setattr(service, "fields", metadata.list_fields("age,sex", []))
    monkeypatch.setattr(service, "judge", keep)
    browser.open(serve())
    browser.choose("#files", photos[:1])
    browser.wait(f"{NAMES}.length === 1")
    labels = browser.run("[...document.querySelectorAll('#metadata label')].map(one => one.control.name)")
    assert labels == ["age_approx", "sex"]

    def change(name, value):
        element = f"document.querySelector('[name={name}]')"
        browser.run(f"{element}.value = {value!r}; {element}.dispatchEvent(new Event('change'))")

    change("sex", "female")
    browser.wait(f"{NAMES}.length === 1 && !state.isJudging")
    change("age_approx", "40")
    browser.wait(f"{NAMES}.length === 1 && !state.isJudging")
    assert sent[0] == {"age_approx": [""], "sex": [""]}
    assert sent[-1] == {"age_approx": ["40"], "sex": ["female"]}
    change("age_approx", "400")
    assert browser.run("document.querySelector('[name=age_approx]').validationMessage") != ""
    assert len(sent) == 3
    browser.run("find('clear').click()")
    assert browser.run("document.querySelector('[name=sex]').value") == ""


def test_a_file_that_is_no_image_does_not_block_others(browser, serve, photos, tmp_path):
    browser.open(serve())
    browser.choose("#files", photos[:1])
    browser.wait(f"{NAMES}.length === 1")
    (tmp_path / "notes.png").write_text("text")
    browser.choose("#files", [tmp_path / "notes.png"])
    browser.wait(f"{ERROR} !== ''")
    browser.choose("#files", photos[1:2])
    browser.wait(f"{NAMES}.length === 2")
    assert browser.run(ERROR) == ""


def test_a_slider_that_is_moved_while_images_are_judged_counts_afterwards(browser, serve, photos, service):
    browser.open(serve())
    browser.choose("#files", photos[:1])
    browser.wait(f"{NAMES}.length === 1")
    browser.choose("#files", photos[1:])
    browser.run("find('prevalence').value = -2; find('prevalence').dispatchEvent(new Event('input')); 1")
    browser.wait(f"{NAMES}.length === 3")
    wanted = service.calibrate(np.array(browser.run("state.images.map(one => one.fold_scores)")), 0.01)
    first = wanted[0].probability
    browser.wait(f"Math.abs(state.images[0].probability - {first}) < 1e-6")
    assert browser.run("state.images.map(one => one.probability)") == pytest.approx([one.probability for one in wanted])


def test_dropped_images_are_added_to_those_of_the_patient(browser, serve, photos):
    browser.open(serve())
    browser.choose("#files", photos[:1])
    browser.wait(f"{NAMES}.length === 1")
    browser.run(
        "const drop = new DataTransfer(); drop.items.add(new File([state.files[0]], 'dropped.png'));"
        "document.body.dispatchEvent(new DragEvent('drop', {dataTransfer: drop, bubbles: true, cancelable: true})), 1"
    )
    browser.wait(f"{NAMES}.length === 2")
    assert sorted(browser.run(NAMES)) == ["dropped.png", "light.png"]


def test_a_token_is_asked_for_and_then_used(browser, serve, photos):
    browser.open(serve(TOKEN))
    browser.choose("#files", photos[:1])
    browser.wait("!find('token-form').hidden && document.activeElement.id === 'token'")
    browser.call("Input.insertText", text=TOKEN)
    browser.press("Enter", 13, "\r")
    browser.wait(f"{NAMES}.length === 1")
    assert browser.run("find('token-form').hidden")
    assert browser.run(ERROR) == ""


def contrast(one, other):
    """The ratio of WCAG 2.2 of two colors as the browser writes them."""
    luminances = []
    for color in (one, other):
        parts = np.array([int(part) for part in re.findall(r"\d+", color)[:3]]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        luminances.append(linear @ [0.2126, 0.7152, 0.0722] + 0.05)
    return max(luminances) / min(luminances)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_it_fits_a_phone_and_has_contrast_in_light_and_dark(width, scheme, browser, serve, photos):
    browser.look(width, 800, scheme)
    browser.open(serve())
    browser.choose("#files", photos)
    browser.wait(f"{NAMES}.length === 3")
    assert browser.run("document.documentElement.scrollWidth") == width
    style = "(selector, name) => getComputedStyle(document.querySelector(selector)).getPropertyValue(name)"
    ground = browser.run(f"({style})('body', 'background-color')")
    assert (np.mean([int(part) for part in re.findall(r"\d+", ground)]) < 128) == (scheme == "dark")
    for selector, least in (("h2", 7), (".muted", 4.5), ("dt", 4.5)):
        assert contrast(browser.run(f"({style})({selector!r}, 'color')"), ground) > least
    warning = browser.run(f"({style})('.warning', 'background-color')")
    assert contrast(browser.run(f"({style})('.warning', 'color')"), warning) > 7
    button = [browser.run(f"({style})('button', {name!r})") for name in ("color", "background-color")]
    assert contrast(*button) > 4.5


def test_a_screen_reader_finds_names_roles_and_labels(browser, serve, photos):
    browser.open(serve())
    browser.choose("#files", photos[:1])
    browser.wait(f"{NAMES}.length === 1")
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    found = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]]
    assert ("heading", "Images of a patient") in found
    assert ("heading", "light.png") in found
    assert ("status", "") in found
    assert ("list", "Images, the most suspicious first") in found
    assert any(role == "slider" and name.startswith("Prevalence of malignant lesions") for role, name in found)
    assert any(role == "image" and name.startswith("Probability") for role, name in found)
    assert any(role == "image" and name == "The regions that raise the score of light.png" for role, name in found)
    controls = [(role, name) for role, name in found if role in ("button", "slider", "textbox", "image")]
    assert all(name for _, name in controls), controls
