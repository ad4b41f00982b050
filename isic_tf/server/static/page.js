// Sends the images of a patient to the server, and shows what it answers. All text of users and of the server is set as
// text, never as markup.
"use strict";

const find = (id) => document.getElementById(id);
const limits = document.body.dataset;
const state = { files: [], judged: [], images: [], token: "", turn: 0, calibration: 0, isJudging: false, prevalence: null, metadata: "" };

function make(tag, text, ...children) {
  const element = document.createElement(tag);
  element.textContent = text;
  element.append(...children);
  return element;
}

const percent = (value) => {
  const hundreds = 100 * value;
  return `${hundreds < 0.1 ? hundreds.toPrecision(1) : hundreds.toFixed(1)}\u00a0%`;
};

function show(error) {
  find("error").textContent = error;
  find("error").hidden = !error;
}

async function ask(path, options) {
  const headers = { ...options.headers };
  if (state.token) headers.Authorization = `Bearer ${state.token}`;
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch {
    throw new Error("The server does not answer. Is it running?");
  }
  const answer = await response.json().catch(() => ({ detail: `the server answered ${response.status}` }));
  if (response.status === 401) {
    find("token-form").hidden = false;
    find("token").focus();
  }
  if (!response.ok) throw new Error(answer.detail);
  return answer;
}

const metadataInputs = () => document.querySelectorAll("#metadata input, #metadata select");

const readMetadata = () => JSON.stringify([...metadataInputs()].map((input) => input.value));

const prevalence = () => state.prevalence;

async function judge() {
  // What is no number would be sent as unknown.
  if (![...metadataInputs()].every((input) => input.reportValidity())) return;
  const turn = ++state.turn;
  show("");
  find("clear").hidden = !state.files.length;
  if (!state.files.length) {
    state.images = [];
    state.judged = [];
    state.isJudging = false;
    draw();
    return;
  }
  state.isJudging = true;
  find("status").textContent = `Judging ${count(state.files.length)} ...`;
  const form = new FormData();
  for (const file of state.files) form.append("images", file);
  for (const input of metadataInputs()) form.append(input.name, input.value);
  const metadata = readMetadata();
  const given = prevalence();
  const query = new URLSearchParams({ maps: "true", ...(given === null ? {} : { prevalence: given }) });
  try {
    const answer = await ask(`/judge?${query}`, { method: "POST", body: form });
    if (turn !== state.turn) return;
    state.isJudging = false;
    state.judged = state.files;
    state.metadata = metadata;
    state.images = answer.images.map((image, place) => ({ ...image, name: state.files[place].name }));
    draw();
    // The slider may have moved meanwhile.
    if (given !== prevalence()) calibrate();
  } catch (error) {
    if (turn !== state.turn) return;
    state.isJudging = false;
    find("status").textContent = "";
    show(rename(error.message));
    // A file that cannot be judged would block those that are added later; without the token, all are sent again.
    if (find("token-form").hidden) {
      state.files = state.judged;
      // What was judged with other metadata is not shown beside these.
      if (state.images.length && state.metadata !== readMetadata()) {
        state.images = [];
        draw();
      }
    }
  }
}

// The server knows images by their places only.
const rename = (text) =>
  text.replace(/\bimage (\d+)(\.dcm|\.dicom)?\b/, (whole, place) => state.files[place - 1]?.name ?? whole);

const count = (number) => `${number} image${number === 1 ? "" : "s"}`;
const suspicion = (image) => image.context_probability ?? image.score;

function draw() {
  const ordered = [...state.images].sort((one, other) => suspicion(other) - suspicion(one));
  find("results").replaceChildren(...ordered.map(drawImage));
  find("status").textContent = ordered.length
    ? `${count(ordered.length)} judged. The most suspicious: ${ordered[0].name}.`
    : "";
}

function drawImage(image) {
  const item = make("li", "");
  item.className = image.is_called_malignant ? "called" : "";
  const figure = make("figure", "");
  for (const [source, text] of [
    [image.picture, `The image ${image.name} as the networks see it`],
    [image.map, `The regions that raise the score of ${image.name}`],
  ]) {
    const picture = make("img", "");
    picture.src = source;
    picture.alt = text;
    figure.append(picture);
  }
  figure.append(make("figcaption", "As the networks see it, and which regions raise the score."));
  const facts = make("dl", "");
  const add = (name, value, id) => {
    const cell = make("dd", value);
    if (id) image[id] = cell;
    facts.append(make("dt", name), cell);
  };
  const beside = image.other_images ? "beside the patient's other images" : "by the patient-context model";
  if (image.context_probability !== null) add(beside, percent(image.context_probability));
  const body = make("div", "", make("h2", image.name));
  if (image.probability !== null) {
    image.bar = make("div", "", make("b", ""), make("i", ""));
    image.bar.className = "bar";
    image.bar.setAttribute("role", "img");
    body.append(image.bar);
    add("probability", "", "probabilityCell");
    add("95 % interval", "", "intervalCell");
  }
  add("score", image.score.toFixed(4));
  if (image.above_benign !== null) {
    const shares = [image.above_benign, image.above_malignant].map((share) => `${Math.round(100 * share)}\u00a0%`);
    add("higher than", `${shares[0]} of benign, ${shares[1]} of malignant training images`);
    add("at the operating point", image.is_called_malignant ? "called malignant" : "called benign");
  }
  for (const [name, probability] of Object.entries(image.classes)) add(name, percent(probability));
  if (image.unlike !== null) add("unlike the training images", `${image.unlike.toFixed(2)} times the limit`);
  body.append(facts);
  for (const text of image.warnings) {
    const warning = make("p", text);
    warning.className = "warning";
    body.append(warning);
  }
  item.append(figure, body);
  fill(image);
  return item;
}

function fill(image) {
  if (image.probability === null) return;
  const [low, high] = image.interval;
  image.probabilityCell.textContent = percent(image.probability);
  image.intervalCell.textContent = `${percent(low)} to ${percent(high)}`;
  image.bar.setAttribute("aria-label", `Probability ${percent(image.probability)}`);
  const [interval, bar] = image.bar.children;
  bar.style.width = `${100 * image.probability}%`;
  interval.style.left = `${100 * low}%`;
  interval.style.width = `${100 * (high - low)}%`;
}

function showPrevalence() {
  find("prevalence-text").textContent = percent(prevalence());
  find("prevalence").setAttribute("aria-valuetext", percent(prevalence()));
}

async function calibrate() {
  // While images are judged, what comes is calibrated afterwards.
  if (!state.images.length || state.isJudging) return;
  const turn = state.turn;
  const own = ++state.calibration;
  const body = JSON.stringify({ fold_scores: state.images.map((image) => image.fold_scores), prevalence: prevalence() });
  try {
    const headers = { "Content-Type": "application/json" };
    const found = await ask("/calibrate", { method: "POST", headers, body });
    if (turn !== state.turn || own !== state.calibration) return;
    state.images.forEach((image, place) => {
      Object.assign(image, found[place]);
      fill(image);
    });
  } catch (error) {
    show(error.message);
  }
}

function addFiles(files) {
  const all = [...state.files, ...files];
  if (all.length > Number(limits.maxImages)) {
    show(`At most ${limits.maxImages} images, got ${all.length}.`);
    return;
  }
  if (all.reduce((total, file) => total + file.size, 0) > Number(limits.maxMegabytes) * 2 ** 20) {
    show(`At most ${limits.maxMegabytes} MB together.`);
    return;
  }
  state.files = all;
  judge();
}

function start() {
  find("files").addEventListener("change", () => {
    addFiles(find("files").files);
    // So that the same file can be chosen again.
    find("files").value = "";
  });
  find("clear").addEventListener("click", () => {
    state.files = [];
    for (const input of metadataInputs()) input.value = "";
    judge();
    find("files").focus();
  });
  for (const input of metadataInputs()) {
    input.addEventListener("change", judge);
  }
  find("token-form").addEventListener("submit", (event) => {
    event.preventDefault();
    state.token = find("token").value;
    find("token-form").hidden = true;
    judge();
  });
  for (const kind of ["dragenter", "dragover"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      find("drop").classList.add("over");
    });
  }
  for (const kind of ["dragleave", "drop"]) {
    document.addEventListener(kind, () => find("drop").classList.remove("over"));
  }
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    addFiles(event.dataTransfer.files);
  });
  if (find("prevalence")) {
    let waiting = 0;
    // That of the run itself; the slider shows the nearest that it has.
    state.prevalence = Number(limits.prevalence);
    find("prevalence").value = Math.log10(state.prevalence);
    showPrevalence();
    find("prevalence").addEventListener("input", () => {
      state.prevalence = 10 ** Number(find("prevalence").value);
      showPrevalence();
      clearTimeout(waiting);
      waiting = setTimeout(calibrate, 100);
    });
  }
}

start();
