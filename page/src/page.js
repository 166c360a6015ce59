// What a person does, from top to bottom: image, first contour, redrawn slice, preview, file.

import { keep, keptOf, forgetAll } from "./kept_drawings.js";
import { bytesOf, packed, unpacked } from "./mask.js";
import { Sentence, Server } from "./server.js";
import { Viewer } from "./viewer.js";
import { Work } from "./work.js";

const PLANES = ["axial", "coronal", "sagittal"];
const at = (id) => document.getElementById(id);
const server = new Server(askForToken);
const viewer = new Viewer(showPlace);
let models = [];
let work = null;
let opening = null; // the next one
let known = null; // the segmentation that the server has, in the image's order
let drawing = null; // as it was drawn, while a preview is shown
let saved = true;
let busy = false;

// -- what is shown

function say(text, wrong = false) {
  at("said").textContent = text;
  at("said").classList.toggle("wrong", wrong);
}

function progress(stage, fraction) {
  if (fraction === null) at("progress").removeAttribute("value");
  else at("progress").value = fraction;
  say(`${stage} …`);
}

function showPlace(vox) {
  if (!viewer.grid) return;
  at("where").textContent = PLANES.map((plane) => `${plane} slice ${viewer.grid.sliceOfPlane(plane, vox)}`).join(", ");
}

function showState() {
  const [opened, started, previewing] = [work !== null && viewer.grid !== null, known !== null, drawing !== null];
  at("image-box").disabled = busy || !models.length;
  at("predict-box").disabled = busy || !opened || started;
  at("draw-box").disabled = busy || !started || previewing;
  at("propagate-box").disabled = busy || !started;
  at("save-box").disabled = busy || !started || previewing;
  for (const id of ["preview", "propagate"]) at(id).disabled = previewing;
  at("decide").hidden = !previewing;
  at("undo").disabled = previewing || !work?.done.length;
  at("redo").disabled = previewing || !work?.undone.length;
  at("save-rt").disabled = !work || Boolean(work.noStructureSet);
  at("why-no-rt").textContent = work?.noStructureSet ?? "";
  at("progress").hidden = at("cancel").hidden = !busy;
  document.body.dataset.state = busy ? "busy" : previewing ? "previewing" : started ? "ready" : opened ? "opened" : "empty";
  chooseTool();
}

/** Do something that takes long, one at a time; what goes wrong is said, and nothing else happens. */
async function long(job) {
  if (busy) return;
  busy = true;
  showState();
  try {
    say((await job()) ?? "");
  } catch (error) {
    if (!(error instanceof Sentence)) console.error(error);
    say(error instanceof Sentence ? error.message : `This page failed at that (${error.message}); nothing was changed`, true);
  } finally {
    busy = false;
    showState();
  }
}

function askForToken() {
  const dialog = at("token");
  if (!dialog.open) {
    at("token-text").value = "";
    dialog.showModal();
  }
  return new Promise((given) => {
    dialog.addEventListener("close", () => given(at("token-text").value.trim()), { once: true });
  });
}

// -- 1. image

function showModel() {
  const model = models[at("model").selectedIndex];
  at("label").replaceChildren(...model.labels.map((name) => new Option(name, name, name === model.label, name === model.label)));
  at("label-line").hidden = model.labels.length < 2;
  at("channels").replaceChildren(
    ...model.channels.map((channel) => {
      const input = Object.assign(document.createElement("input"), { type: "file", multiple: true });
      const label = document.createElement("label");
      label.append(channel, " ", input);
      return label;
    }),
  );
}

function chosenModel() {
  const { name, labels } = models[at("model").selectedIndex];
  return { bundle: name, label: labels.length > 1 ? at("label").value : null };
}

function chosenFiles() {
  const channels = [...at("channels").querySelectorAll("input")].map((input) => [...input.files]);
  if (channels.some((files) => !files.length)) throw new Sentence("Choose the image's files first");
  return channels;
}

async function open(files) {
  if (hasUnsaved() && !confirm("What you drew is not saved. Open another image?")) return "";
  opening = new Work(server, chosenModel(), files);
  try {
    await opening.begin(progress);
    progress("fetch the image", null);
    const image = await opening.imageFile(0);
    work?.close();
    [work, known, drawing, saved] = [opening, null, null, true];
    await viewer.show(image);
  } finally {
    if (work !== opening) opening.close();
    opening = null;
  }
  return "The image is open. Predict the first contour";
}

// -- 2. first contour

async function predict() {
  const first = await unpacked(await work.predict(progress));
  viewer.mask = first;
  viewer.lookAt(first);
  const kept = keptOf(work);
  if (kept && confirm("This browser has drawings of this image. Go on with them?")) return goOn(first, kept);
  known = first;
  return known.includes(1) ? "Look through the slices, and redraw one that is wrong" : "The model found nothing; draw a slice";
}

/** Nothing can be drawn before all of them are back: it would be kept in their place. */
async function goOn(first, kept) {
  const standing = await work.replay(kept, progress);
  known = standing ? await unpacked(standing.segmentation) : first;
  viewer.mask = kept.drawn ? await unpacked(kept.drawn) : known;
  at("keep").checked = true;
  saved = false;
  return "Your drawings are back";
}

async function show(standing) {
  known = await unpacked(standing.segmentation);
  viewer.mask = known;
}

// -- 3. and 4. redraw, preview, apply

function chooseTool() {
  if (!viewer.grid) return;
  const tool = document.querySelector("input[name=tool]:checked").value;
  const may = document.body.dataset.state === "ready" && tool !== "look";
  viewer.draw(may ? tool : null, at("filled").checked, Number(at("size").value) || 1);
}

async function preview() {
  const drawn = viewer.mask;
  const plane = at("plane").value;
  const axis = plane ? viewer.grid.axisOfPlane(plane) : null;
  const answer = await work.preview(await packed(drawn, viewer.grid.shape), axis, progress);
  drawing = drawn;
  viewer.compare(known, await unpacked(answer.segmentation));
  return answer.said.join(". ");
}

async function apply() {
  await show(await work.apply(progress));
  drawing = null;
  await changed();
  return "Applied. Redraw another slice, or download the result";
}

async function propagate() {
  const said = await preview();
  await apply();
  return said;
}

function discard() {
  viewer.mask = drawing;
  drawing = work.previewed = null;
  say("Discarded; your drawing is as it was");
  showState();
}

async function step(what) {
  if (isRedrawn() && !confirm("What you drew since the last step will be lost. Go on?")) return "Nothing was changed";
  await show(await work[what](progress));
  await changed();
  return what === "undo" ? "The last edit and its drawing are undone" : "Done again";
}

// -- 5. what stays

async function download(kind) {
  const { name, data } = await work.file(kind, progress);
  const link = Object.assign(document.createElement("a"), { download: name, href: URL.createObjectURL(new Blob([bytesOf(data)])) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  saved = true;
  return isRedrawn() ? `${name} is downloaded; your newest drawing is not in it: propagate it first` : `${name} is downloaded`;
}

function isRedrawn() {
  if (known === null) return false;
  const drawn = drawing ?? viewer.mask;
  return drawn.some((value, voxel) => value !== known[voxel]);
}

function hasUnsaved() {
  return !at("keep").checked && ((!saved && work !== null) || isRedrawn());
}

async function changed() {
  saved = false;
  await keepDrawings();
}

async function keepDrawings() {
  if (!at("keep").checked || known === null) return;
  const drawn = isRedrawn() ? await packed(drawing ?? viewer.mask, viewer.grid.shape) : null;
  if (keep(work, drawn)) return;
  at("keep").checked = false;
  say("This browser has no room for more drawings; they are not kept any longer. Download the result", true);
}

// -- all together

const CLICKS = {
  open: () => open(chosenFiles()),
  demo: () => open(null),
  predict,
  preview,
  propagate,
  apply,
  undo: () => step("undo"),
  redo: () => step("redo"),
  "save-nifti": () => download("nifti"),
  "save-seg": () => download("seg.nrrd"),
  "save-rt": () => download("rtstruct"),
};

async function main() {
  at("host").textContent = location.host;
  for (const [id, job] of Object.entries(CLICKS)) at(id).addEventListener("click", () => long(job));
  at("discard").addEventListener("click", discard);
  at("cancel").addEventListener("click", () => (opening ?? work)?.cancel());
  at("undo-stroke").addEventListener("click", () => viewer.undoStroke());
  at("model").addEventListener("change", showModel);
  at("view").addEventListener("change", () => viewer.view(at("view").value));
  for (const input of document.querySelectorAll("input[name=tool], #filled, #size")) input.addEventListener("change", chooseTool);
  at("keep").addEventListener("change", () => (at("keep").checked ? keepDrawings() : forgetAll()));
  viewer.drawn = () => document.body.dataset.state === "ready" && keepDrawings();
  addEventListener("beforeunload", (event) => hasUnsaved() && event.preventDefault());
  addEventListener("pagehide", () => work?.close());
  await long(async () => {
    await viewer.attach(at("canvas"));
    progress("ask the server", 0);
    ({ models } = await server.ask("GET", "api/server"));
    at("model").replaceChildren(...models.map(({ name }) => new Option(name)));
    showModel();
    return "Open an image, or the demo case";
  });
}

main();
globalThis.contextPropagationPage = { viewer }; // for scripts of those who try it out
