"""The page in a headless Chromium, with nothing but this machine to talk to."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
import spacy

pytest.importorskip("streamlit", reason="the page needs Streamlit: pip install '.[web]'")

from streamlit.testing.v1 import AppTest

from spacy_btl.training.calibrate import calibrate
from spacy_btl.web.session import decided, opened, read_note, shown
from tests.conftest import SENTENCES

NOTE = SENTENCES[0][0]
LOW, HIGH = -0.5, 50.0  # the ends of the slider of tau
PATIENCE = 120  # seconds


@pytest.fixture(autouse=True)
def same_main(monkeypatch):
    """AppTest leaves its script behind as `__main__`, which later tests' workers cannot import."""
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])


def draw(model: str, notes: str = "") -> None:
    from spacy_btl.web.page import show

    show(model, notes=notes)


def app(model: Path, notes: str = "") -> AppTest:
    kwargs = {"model": str(model), "notes": notes}
    test = AppTest.from_function(draw, kwargs=kwargs, default_timeout=PATIENCE)
    if not notes:
        test.session_state["text"] = NOTE
    return test.run()


def button(page: AppTest, label: str):
    (found,) = (one for one in page.button if one.label == label)
    return found


def marked(page: AppTest) -> str:
    """The marked text, as the browser's part gets it."""
    (found,) = page.get("bidi_component")
    return json.loads(found.proto.json)["html"]


def test_the_controls_are_there_and_act(calibrated_path):
    page = app(calibrated_path)
    assert not page.exception
    assert not page.error
    assert page.selectbox(key="chosen")
    found = marked(page).count("<mark")
    page.slider(key="min_confidence").set_value(1.0).run()
    hidden = found - marked(page).count("<mark")
    assert hidden
    assert any(f"{hidden} hidden by" in caption.value for caption in page.caption)
    page.multiselect(key="labels").set_value(["Test"]).run()
    assert not page.error
    # no entity is left to explain
    assert "chosen" not in {one.key for one in page.selectbox}
    assert "<mark" not in marked(page)


def test_an_entity_is_retyped_deleted_and_restored(calibrated_path):
    page = app(calibrated_path)
    start, end, label = page.session_state["chosen"]
    page.selectbox(key=f"type of {(start, end, label)}").set_value("Value").run()
    assert not page.error
    assert page.session_state["chosen"] == (start, end, "Value")
    assert f'data-mention="{start} {end} Value"' in marked(page)
    assert f'data-mention="{start} {end} {label}"' not in marked(page)
    button(page, "Delete").click().run()
    assert f'data-mention="{start} {end} ' not in marked(page)
    button(page, "Undo").click().run()
    assert f'data-mention="{start} {end} {label}"' in marked(page)
    assert "Undo" not in {one.label for one in page.button}


def test_words_that_are_selected_are_added(calibrated_path):
    page = app(calibrated_path)
    page.session_state["selection"] = (5, 9)  # of "patient"
    page.run()
    page.selectbox(key="new_type").set_value("Test").run()
    button(page, "Add").click().run()
    assert not page.error
    assert 'data-mention="4 11 Test"' in marked(page)
    assert page.session_state["chosen"] == (4, 11, "Test")
    assert page.session_state["selection"] is None


def test_notes_of_a_folder_keep_their_corrections(calibrated_path, tmp_path):
    for name, (text, _) in zip("ab", SENTENCES, strict=False):
        (tmp_path / f"{name}.txt").write_text(text)
    page = app(calibrated_path, str(tmp_path))
    assert "Note 1 of 2: a" in [text.value for text in page.text]
    assert button(page, "Previous").disabled
    first = marked(page)
    button(page, "Delete").click().run()
    without = marked(page)
    button(page, "Next").click().run()
    assert not page.error
    assert "Note 2 of 2: b" in [text.value for text in page.text]
    assert "crp" in marked(page)
    assert button(page, "Next").disabled
    page.selectbox(key="format").set_value("Prodigy").run()
    assert page.get("download_button")[0].proto.label == "Download Prodigy of 2 opened notes"
    button(page, "Previous").click().run()
    assert marked(page) == without != first
    page.text_area(key="text").set_value("no fever").run()
    assert "A note that was typed" in [text.value for text in page.text]


def test_a_note_that_is_far_from_all_that_is_known_says_so(calibrated_path, monkeypatch):
    monkeypatch.setattr("spacy_btl.web.session.is_far", lambda pipe, doc: True)
    page = app(calibrated_path)
    assert any("far from all" in warning.value for warning in page.warning)


def test_without_a_calibrator_there_are_no_sliders(trained_path):
    page = app(trained_path)
    assert not page.error
    assert not page.slider
    assert "calibrate" in page.warning[0].value


def test_mentions_that_overlap_are_on_the_page(overlapping_path):
    page = app(overlapping_path)
    page.text_area(key="text").set_value("no fever or cough today").run()
    assert not page.error
    assert page.slider(key="min_confidence")
    assert any("Table of 3 mentions" in expander.label for expander in page.expander)
    assert marked(page).count("<mark") == 3


def test_an_empty_note_has_a_message(calibrated_path):
    page = app(calibrated_path)
    page.text_area(key="text").set_value(" ").run()
    assert "empty" in page.error[0].value


@pytest.fixture
def model(trained_path, corpus_path, tmp_path) -> Path:
    """One whose tau finds the rarest type everywhere, so that the slider changes all there is, on
    any machine and however it trained."""
    path = tmp_path / "model"
    calibrate(
        str(trained_path),
        corpus_path,
        path,
        settings={"n_neighbors": 3, "knn_weight": 0.5, "tau": HIGH},
    )
    return path


@pytest.fixture
def address(model, tmp_path):
    """A page served from a home folder of its own, which has to stay empty."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "spacy", "btl", "visualize", str(model)]
    home = tmp_path / "home"
    home.mkdir()
    log = tmp_path / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [*command, "--port", str(port)],
            env={**os.environ, "HOME": str(home)},
            stdout=output,
            stderr=output,
        )
    try:
        _wait(f"http://127.0.0.1:{port}/_stcore/health", server)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()
    assert "fever" not in log.read_text()
    assert not list(home.rglob(".streamlit/*"))


def _wait(url: str, server: subprocess.Popen) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and server.poll() is None:
        try:
            urlopen(url).close()
            return
        except URLError:
            time.sleep(0.2)
    pytest.fail("the page was not served")


def titles(pipeline, note, *, tau, min_confidence=0.0) -> list[str]:
    """What a pointer sees on the marks, by the pipeline itself."""
    ents, _ = shown(decided(pipeline, note, tau), min_confidence=min_confidence)
    return [place(ent.label, ent.start, ent.end) for ent in ents]


def place(label: str, start: int, end: int) -> str:
    return f"{label}, characters {start} to {end}"


def wait_for(page, expected, *, seconds=PATIENCE) -> None:
    shown = "[...document.querySelectorAll('mark.entity')].map(mark => mark.title)"
    page.wait_for_function(
        f"titles => {shown}.join() == titles.join()", arg=expected, timeout=seconds * 1000
    )


def press_until(page, slider, keys, expected) -> None:
    """Press keys, the last of which moves the slider to its end, until the marks are these. A key
    that comes while the page is drawn anew is lost, and a slider at its end tells of no key more:
    so it is moved away first."""
    from playwright.sync_api import TimeoutError as TooLate

    for _ in range(PATIENCE // 5):
        for key in keys:
            slider.press(key)
        try:
            wait_for(page, expected, seconds=5)
        except TooLate:
            continue
        return
    pytest.fail(f"{keys[-1]} did not show {expected}")


SELECT = """word => {
    const note = document.querySelector('.note');
    const walker = document.createTreeWalker(note, NodeFilter.SHOW_TEXT);
    while (!walker.nextNode().data.includes(word));
    const node = walker.currentNode, start = node.data.indexOf(word);
    getSelection().setBaseAndExtent(node, start, node, start + word.length);
    note.dispatchEvent(new MouseEvent('mouseup'));
}"""


@pytest.mark.slow
def test_a_note_goes_in_and_entities_come_out_in_a_browser(address, model):
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed")
    pipeline = opened(spacy.load(model))
    typed = f"\N{GRINNING FACE}\n{NOTE}"  # two units to a browser, and one character to Python
    note = read_note(pipeline, typed)
    common, rare = (titles(pipeline, note, tau=tau) for tau in (LOW, HIGH))
    sure = titles(pipeline, note, tau=HIGH, min_confidence=1.0)
    fever = typed.index("fever")
    assert place("Sign", fever, fever + len("fever")) in common
    assert common != rare != sure
    with sync_api.sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        page = browser.new_page()
        page.set_default_timeout(PATIENCE * 1000)
        requests: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        page.on("websocket", lambda socket: requests.append(socket.url.replace("ws", "http", 1)))
        page.goto(address)
        page.locator("mark.entity").first.wait_for()
        page.get_by_role("textbox").first.fill(typed)
        page.get_by_role("button", name="Find entities").click()
        wait_for(page, rare)

        mark = page.locator("mark.entity").last
        mark.click()
        page.locator(f'mark.chosen[title="{mark.get_attribute("title")}"]').first.wait_for()

        with page.expect_download() as download:
            page.get_by_role("button", name="Download JSON").click()
        rows = json.loads(Path(download.value.path()).read_text("utf-8"))
        assert [row["text"] for row in rows] == [typed[row["start"] : row["end"]] for row in rows]
        assert [place(row["label"], row["start"], row["end"]) for row in rows] == rare

        tau, confidence = (page.get_by_role("slider").nth(i) for i in (0, 1))
        press_until(page, tau, ("End", "Home"), common)
        press_until(page, tau, ("Home", "End"), rare)
        press_until(page, confidence, ("Home", "End"), sure)

        page.evaluate(SELECT, "fever")
        page.get_by_role("button", name="Add", exact=True).click()
        added = place(pipeline.labels[0], fever, fever + len("fever"))
        page.locator(f'mark.chosen[title="{added}"]').wait_for()
        browser.close()
    outside = [url for url in requests if not url.startswith((address, "data:", "blob:"))]
    assert requests
    assert not outside
