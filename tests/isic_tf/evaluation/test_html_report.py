import html
import html.parser
import json
import re
import shutil
import subprocess
import types

import numpy as np
import pandas as pd
import pytest
from tiny_runs import build_tiny, make_run

from isic_tf.artifacts import run_directory
from isic_tf.evaluation import evaluator, failure_cases, html_report, joined_tables, number_format, patient_panels
from isic_tf.metrics import operating_points, paired_auc_test
from isic_tf.models import classifiers

EVIL = '<script>document.title="run"</script>'
BREAKOUT = '"><img src=http://127.0.0.1:9/x onerror=alert(1)>'


def make_predictions(index, seed=0):
    """Predictions of 400 images by 80 patients, the first of which are those of an index; worst are evil names."""
    rng = np.random.default_rng(seed)
    targets = (np.arange(400) % 4 == 0).astype(int)
    known = index["image_name"].tolist()
    names = known + [f"ISIC_{number:07d}" for number in range(400 - len(known))]
    columns = {
        "image_name": names,
        "patient_id": [f"IP_{patient}" for patient in np.arange(400) // 5],
        "target": targets,
        "prediction": np.clip(0.3 * targets + 0.6 * rng.random(400), 0.02, 0.98),
        "fold": [str(patient % 2) for patient in np.arange(400) // 5],
        "sex": ["female", "male", EVIL, ""] * 100,
        "age_approx": ["45.0"] * 400,
        "anatom_site_general_challenge": ["torso"] * 400,
        "stage_one": rng.random(400),
        "unlike": np.where(np.arange(400) < 300, np.arange(400) / 250, np.nan),
    }
    table = pd.DataFrame(columns)
    table.loc[0, ["patient_id", "prediction"]] = EVIL, 0.001
    table.loc[4, ["image_name", "prediction"]] = BREAKOUT, 0.002
    table.loc[8, "prediction"] = 0.003
    return table


@pytest.fixture(scope="module")
def written(tmp_path_factory, index, record_set):
    """A report with everything in it: text, assessment and table."""
    folder = tmp_path_factory.mktemp("report")
    table, other = make_predictions(index), make_predictions(index, seed=1)
    found = {**evaluator.assess(table, resamples=40), "patient_context": True}
    compared = {"second": BREAKOUT, **paired_auc_test.compare(table, other, resamples=40)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifiers, "build_classifier", build_tiny)
        make_run(folder / "run", index)
        with open(folder / "run" / "flags.txt", "a") as flags:
            flags.write(f"--evil={EVIL}\n")
        for fold in (0, 1):
            history = [{"epoch": epoch, "loss": 1 / epoch, "auc": 0.6 + 0.01 * epoch} for epoch in (1, 2, 3)]
            run_directory.write_history(run_directory.fold_dir(str(folder / "run"), fold), history)
        options = {"workdir": str(folder / "run"), "records": joined_tables.read_records(f"{record_set}/train*.tfrec")}
        path = folder / "report.html"
        html_report.write(str(path), EVIL, found, table, [(found, other, compared)], **options)
    return types.SimpleNamespace(path=path, text=path.read_text(), found=found, table=table)


class Parser(html.parser.HTMLParser):
    """Collects elements, and the text outside of the style sheet."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.words = [], []
        self.feed(text)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.elements and self.elements[-1][0] != "style":
            self.words.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def page(written):
    return Parser(written.text)


def test_every_value_of_the_data_is_text(page):
    assert not page.all("script")
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    # As name, patient, group and flag; as image and as other file, there twice.
    assert page.text.count(EVIL) >= 4
    assert page.text.count(BREAKOUT) >= 3


def test_a_patients_lesions_stand_side_by_side(page, written):
    patients = patient_panels.find(written.table)
    assert len(patients) == 4
    assert "Patients whose melanomas patient context moved most" in page.text
    for rows in patients:
        first = rows.iloc[0]
        assert f"{number_format.HTML.significant(first['prediction'])} (rank 1)" in page.text
        assert (
            f"image-level model {number_format.HTML.significant(first['stage_one'])} (rank {first['stage_one_rank']})"
            in page.text
        )
    assert "The predictions use the patient's other images" in page.text


def test_nothing_is_fetched(page):
    policy = next(meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    expected = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert policy.startswith(expected)
    assert all(image["src"].startswith("data:image/jpeg;base64,") for image in page.all("img"))
    assert [link["href"] for link in page.all("link")] == ["data:,"]
    assert not any("src" in attributes for tag, attributes in page.elements if tag != "img")


def test_the_figures_are_those_of_the_assessment(page, written):
    summary, confusion = written.found["summary"], written.found["confusion"]
    interval = f"{summary['auc_low']:.3f} to {summary['auc_high']:.3f}"
    assert f"ROC AUC {summary['auc']:.3f} {interval}" in page.text
    threshold = operating_points.spell(confusion["threshold"])
    assert f"At a threshold of {threshold} (at least 90 % sensitivity on these images)" in page.text
    assert f"(6 of {confusion['false_negatives']} missed)" in page.text
    assert f"(6 of {confusion['false_positives']} false alarms)" in page.text
    for point in written.found["operating_points"]:
        cells = [f"{100 * point[name]:.1f} %" for name in ("sensitivity", "specificity")]
        level = f"{point['held']} at least {100 * point['level']:.0f} %"
        assert " ".join([level, operating_points.spell(point["threshold"]), *cells]) in page.text
    notes = [row["note"] for group in written.found["groups"] for row in group["rows"]]
    assert all(note in page.text for note in notes)


def test_unlike_images_are_counted_and_left_out(page, written):
    found = written.found["unlike"]
    assert (found["images"], found["unknown"]) == (300, 100)
    assert "49 of 300 images (16.3\N{NO-BREAK SPACE}%) are unlike the training images" in written.text
    difference = number_format.HTML.number(found["without_flagged"]["difference"], 4)
    assert f"100 more have no value. The ROC AUC without them minus that of all images is {difference} (" in page.text
    row = found["coverages"][-1]
    cells = f"{100 * row['error']:.1f} % {row['auc']:.3f} {row['auc_low']:.3f} to {row['auc_high']:.3f}"
    assert f"50 % {row['limit']:.3g} {cells}" in page.text
    assert f"The area is {found['risk_coverage']['area']:.4f}, in random order" in page.text


def test_every_section_is_there(page):
    ids = [attributes["id"] for tag, attributes in page.elements if tag == "h2"]
    wanted = "summary comparison curves thresholds calibration groups unlike patients side-by-side shortcuts errors"
    assert ids == [*wanted.split(), "training", "flags", "data"]
    assert [link["href"] for link in page.all("a") if link["href"].startswith("#")][1 : len(ids) + 1] == [
        f"#{name}" for name in ids
    ]
    assert "CC BY-NC 4.0" in page.text
    assert "not a medical device" in page.text
    assert "their metadata and pictures. Consider this before you share it." in page.text
    # ROC, precision and recall, reliability, histogram, risk against coverage; loss and ROC AUC of the folds.
    assert len(page.all("svg")) == 7


def test_pictures_are_next_to_their_maps_and_have_alternative_texts(page):
    maps = sum(image["alt"].startswith("Grad-CAM") for image in page.all("img"))
    assert maps
    # Of the patients' lesions side by side there are none.
    images = [image["alt"] for image in page.all("img")][-2 * maps :]
    for picture, laid in zip(images[::2], images[1::2], strict=True):
        name = re.fullmatch(r"Image (.+), (malignant|benign)", picture)[1]
        assert laid == f"Grad-CAM map of {name}"
    assert all(figure["role"] == "img" and figure["aria-label"] for figure in page.all("svg"))
    assert all(cell.get("scope") for cell in page.all("th"))
    assert "The records do not contain this image." in page.text
    assert "the networks of the map predict" in page.text


def contrast(one, other):
    """The ratio of WCAG 2.2."""
    luminances = []
    for colour in (one, other):
        parts = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        luminances.append(linear @ [0.2126, 0.7152, 0.0722] + 0.05)
    return max(luminances) / min(luminances)


def test_colors_have_enough_contrast_in_light_and_dark(written):
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    schemes = re.findall(r":root \{([^}]*--ground[^}]*)\}", written.text)
    assert len(schemes) == 2
    for scheme in schemes:
        colours = dict(re.findall(r"--([\w-]+): (#\w{6})", scheme))
        for ground in ("ground", "raised", "warn"):
            assert contrast(colours["ink"], colours[ground]) > 7
        assert min(contrast(colours["muted"], colours[ground]) for ground in ("ground", "raised")) > 4.5
        assert contrast(colours["series0"], colours["warn"]) > 4.5
        lines = [name for name in colours if name.startswith(("series", "benign", "malignant"))]
        assert len(lines) == 7
        assert min(contrast(colours[name], colours["ground"]) for name in lines) > 4.5


def test_a_report_of_predictions_alone_is_complete(tmp_path, index):
    table = make_predictions(index)[["image_name", "patient_id", "target", "prediction"]]
    html_report.write(str(tmp_path / "r.html"), "a.csv", evaluator.assess(table, resamples=20), table)
    page = Parser((tmp_path / "r.html").read_text())
    ids = [attributes["id"] for tag, attributes in page.elements if tag == "h2"]
    wanted = "summary curves thresholds calibration groups patients shortcuts errors data"
    assert ids == wanted.split()
    assert not page.all("img")
    assert "Add --records (and --workdir) to see the images." in page.text
    assert "contains image names, patient IDs and their metadata. Consider this before you share it." in page.text
    assert "not known" in page.text


def test_few_images_and_a_missing_threshold_are_stated(tmp_path):
    # The highest prediction is benign: no threshold has that specificity.
    columns = {"image_name": list("abcd"), "patient_id": list("pqrs"), "target": [0, 1, 0, 1]}
    table = pd.DataFrame({**columns, "prediction": [0.9, 0.4, 0.3, 0.2], "unlike": [0.5, 0.5, 0.5, 2.0]})
    found = evaluator.assess(table, specificity=0.99, resamples=20)
    html_report.write(str(tmp_path / "r.html"), "a.csv", found, table)
    text = Parser((tmp_path / "r.html").read_text()).text
    assert "No image is called malignant: no threshold gives at least 99 % specificity on these images." in text
    assert text.count("no interval: 2 patients with a malignant lesion, at least 10 needed") == 2
    assert "There are too few patients for intervals (no interval: 2 " in text
    assert "Wilson" not in text
    assert "DeLong's interval" not in text
    assert "There is no false alarm at this threshold." in text
    assert "Leaving them out is not compared: too small: 1 malignant images, 10 needed." in text
    assert "Risk against coverage: the" not in text


def test_a_directory_without_a_run_is_refused_and_nothing_written(tmp_path, written):
    with pytest.raises(ValueError, match="expected a run in .*, found no flags.txt"):
        html_report.write(str(tmp_path / "r.html"), "a.csv", written.found, written.table, workdir=str(tmp_path / "x"))
    assert not list(tmp_path.iterdir())


def test_the_file_is_small(written):
    # Twelve pairs of thumbnails of 184 px are about 300 kB on real images; those of 64 px are smoother.
    assert len(written.text) < 500_000
    noise = np.random.default_rng(0).integers(0, 256, (failure_cases.SIDE, failure_cases.SIDE, 3), np.uint8)
    assert 24 * len(failure_cases.encode(noise)) < 2_000_000


@pytest.fixture(scope="module")
def browse(tmp_path_factory):
    """Opens a page in headless Chromium; returns its text after its scripts ran, its console and what it asked for."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
    if not browser:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    folder = tmp_path_factory.mktemp("browser")
    flags = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--no-first-run",
        "--hide-scrollbars",
    ]
    flags += ["--disable-component-update", "--disable-dev-shm-usage", "--enable-logging=stderr", "--v=0", "--dump-dom"]

    def open_page(path):
        log = folder / "net.json"
        command = [browser, *flags, f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}", path.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        console = re.findall(r"CONSOLE[^\]]*\] (.*)", done.stderr)
        started = [event.get("params", {}) for event in json.loads(log.read_text())["events"]]
        # What the browser asks for of its own accord has no origin.
        asked = {one["url"] for one in started if one.get("initiator", "not an origin") != "not an origin"}
        return done.stdout, console, sorted(url for url in asked if not url.startswith("data:"))

    return open_page


def test_a_browser_shows_the_report_without_console_messages(browse, written):
    shown, console, asked = browse(written.path)
    assert console == []
    assert asked == []
    page = Parser(shown)
    assert not page.all("script")
    assert EVIL in page.text
    assert f"<title>Evaluation of {html.escape(EVIL, quote=False)}</title>" in shown


def test_a_phone_shows_the_report_without_scrolling_sideways(browse, written, tmp_path):
    """In a frame, since the browser has no windows so narrow; with a picture to be fetched, to see that it shows."""
    script = """
        console.error("heard");
        frame.onload = () => {
            const inside = frame.contentDocument, element = inside.documentElement;
            const broken = [...inside.images].filter(image => !image.naturalWidth).length;
            const wide = [...inside.querySelectorAll("p, li, figure, h1, h2, h3, dl, svg, .scroll")]
                .filter(each => each.getBoundingClientRect().right > 391).length;
            const ground = frame.contentWindow.getComputedStyle(inside.body).backgroundColor;
            result.innerText = [frame.contentWindow.innerWidth, element.scrollWidth, broken, wide, ground].join(" ");
        }
    """
    frame = (
        f'<iframe id="frame" width="390" height="900" style="border: 0" srcdoc="{html.escape(written.text)}"></iframe>'
    )
    control = '<img src="http://127.0.0.1:9/control"><img src="http://a.invalid/control"><p id="result"></p>'
    (tmp_path / "phone.html").write_text(f"{frame}{control}<script>{script}</script>")
    shown, console, asked = browse(tmp_path / "phone.html")
    # Widths of the frame and of the page in it, pictures that do not show, elements that stick out.
    assert re.search('<p id="result">(.*?)</p>', shown)[1] == "390 390 0 0 rgb(255, 255, 255)"
    assert len([line for line in console if "heard" in line]) == 1
    assert asked == ["http://127.0.0.1:9/control", "http://a.invalid/control"]


def test_print_leaves_out_navigation_and_is_dark_on_light(browse, written, tmp_path):
    script = """
        const rules = [...document.styleSheets[0].cssRules].filter(rule => rule.media);
        const shown = name => getComputedStyle(document.querySelector(name));
        const look = () => [shown("nav").display, shown(".scroll").overflowX, shown(":root").colorScheme,
            shown("figure").maxWidth, shown("main").maxWidth].join(" ");
        const before = look();
        rules.filter(rule => rule.media.mediaText == "print").forEach(rule => rule.media.mediaText = "all");
        document.body.innerHTML += `<p id="result">${before}; ${look()}</p>`;
    """
    # The report itself allows no script.
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", written.text)
    (tmp_path / "print.html").write_text(text.replace("</body>", f"<script>{script}</script></body>"))
    shown, _, _ = browse(tmp_path / "print.html")
    # 8.5 cm at 96 dots an inch.
    expected = r"block auto light dark none \d+px; none visible light 321\.26\d*px none"
    # The first is the script's own.
    assert re.fullmatch(expected, re.findall('<p id="result">(.*?)</p>', shown)[-1])


@pytest.mark.realdata
def test_a_report_of_real_predictions(tmp_path, real_data):
    labels = pd.read_csv(real_data / "isic2020" / "train.csv", keep_default_na=False, dtype=str)
    predictions = pd.read_csv(real_data / "predictions" / "oof" / "model_b.csv")[["image_name", "prediction", "fold"]]
    table = predictions.merge(labels, on="image_name").astype({"target": int, "fold": str})
    html_report.write(str(tmp_path / "r.html"), "model_b.csv", evaluator.assess(table, resamples=50), table)
    page = Parser((tmp_path / "r.html").read_text())
    assert re.search(r"ROC AUC 0\.897 0\.8\d\d to 0\.9\d\d", page.text)
    assert "581 malignant (1.78 %), 2,056 patients" in page.text
    assert (tmp_path / "r.html").stat().st_size < 200_000
