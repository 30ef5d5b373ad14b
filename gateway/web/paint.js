// The page that paints: one picture at a time, its steps and previews on the way. Owns every element of it.

import { ApiError, listModels, modelDetails, streamPicture } from "./api.js";

const byId = (id) => document.getElementById(id);
const painter = byId("painter");
const prompt = byId("prompt");
const picture = byId("picture");
const progress = byId("progress");

let running = null; // AbortController of the picture that is being painted

byId("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  paint();
});
prompt.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  byId("composer").requestSubmit();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") running?.abort();
});
byId("stop").addEventListener("click", () => running?.abort());
painter.addEventListener("change", () => showSizes().catch(showError));

async function paint() {
  if (running || !["seed", "previews"].every((id) => byId(id).reportValidity())) return;
  running = new AbortController();
  showRunning(true);
  byId("error").hidden = true;
  byId("caption").textContent = "";
  try {
    for await (const event of streamPicture(order(), running.signal)) show(event);
  } catch (error) {
    if (error.name === "AbortError") byId("caption").textContent = "stopped";
    else showError(error);
  } finally {
    running = null;
    showRunning(false);
    prompt.focus();
  }
}

function order() {
  const seed = byId("seed").valueAsNumber;
  return {
    model: painter.value,
    prompt: prompt.value,
    size: byId("size").value,
    partial_images: byId("previews").valueAsNumber || 0,
    ...(byId("quality").value !== "auto" && { quality: byId("quality").value }),
    ...(!Number.isNaN(seed) && { seed }),
  };
}

function show(event) {
  if (event.steps) {
    progress.max = event.steps;
    progress.value = event.step;
    return;
  }
  byId("welcome").hidden = true;
  picture.src = `data:image/${event.output_format};base64,${event.b64_json}`;
  picture.alt = prompt.value;
  picture.hidden = false;
  if (event.usage) byId("caption").textContent = `${event.size} · seed ${event.seed}`;
}

function showRunning(yes) {
  byId("send").hidden = yes;
  byId("stop").hidden = !yes;
  progress.hidden = !yes;
  progress.removeAttribute("value"); // it is not known how far, until the first step
}

function showError(error) {
  const shown = byId("error");
  if (error.status === 401) shown.textContent = "This server asks for an API key: give it on the chat page first.";
  else if (error instanceof ApiError) shown.textContent = error.message;
  else shown.textContent = "The server cannot be reached, or the connection was lost.";
  shown.hidden = false;
}

async function showPainters() {
  const painters = (await listModels()).filter((model) => model.tasks?.includes("paint"));
  painter.replaceChildren(...painters.map((model) => new Option(model.id, model.id)));
  byId("send").disabled = painters.length === 0;
  byId("state").textContent = painters.length === 0 ? "no model here paints" : "";
  if (painters.length > 0) await showSizes();
}

async function showSizes() {
  const { capabilities } = await modelDetails(painter.value);
  const sizes = capabilities?.sizes || [];
  byId("size").replaceChildren(...["auto", ...sizes].map((size) => new Option(size, size)));
}

showPainters().catch(showError);
