// The models: the picker, the note on the chosen one, and the list with states. Owns these elements only.

const picker = document.getElementById("model");
const note = document.getElementById("model-note");
const list = document.getElementById("models");

const ACTIONS = { cold: "load", failed: "load", ready: "unload", starting: "unload" };
const LABELS = { load: "Load", unload: "Unload" };

let known = [];
let said = {}; // by model: why the last request for it was refused
let handle = async () => {};

picker.addEventListener("change", showNote);

export const chosenModel = () => picker.value;

/** `handler(action, model)` loads or unloads a model, and throws what a person should read. */
export function onModelAction(handler) {
  handle = handler;
}

list.addEventListener("click", async (event) => {
  const { action, model } = event.target.dataset;
  if (!action) return;
  event.target.disabled = true;
  delete said[model];
  try {
    await handle(action, model);
  } catch (error) {
    said[model] = error.message;
  }
  list.replaceChildren(...known.map(row));
});

/** Show `models` (items of /v1/models) and keep the choice if it is still there. */
export function showModels(models) {
  if (JSON.stringify(models) === JSON.stringify(known)) return;
  known = models;
  const chats = models.filter((model) => !model.tasks?.length || model.tasks.includes("generate"));
  const chosen = picker.value;
  picker.replaceChildren(...chats.map((model) => new Option(model.id, model.id)));
  if (chats.some((model) => model.id === chosen)) picker.value = chosen;
  picker.disabled = chats.length === 0;
  list.replaceChildren(...models.map(row));
  showNote();
}

function showNote() {
  const text = known.find((model) => model.id === picker.value)?.note || "";
  note.textContent = text;
  note.hidden = text === "";
}

function row(model) {
  const item = document.createElement("li");
  const head = element("div", "model-head", "");
  head.append(element("span", "model-name", model.id));
  if (model.state) {
    const state = element("span", "state", model.state);
    state.dataset.state = model.state;
    head.append(state);
  }
  const about = element("div", "model-head", "");
  about.append(element("p", "help", facts(model)));
  if (ACTIONS[model.state]) about.append(actionButton(ACTIONS[model.state], model.id));
  item.append(head, about);
  const error = said[model.id] || model.error;
  if (error) item.append(element("p", "error", error));
  return item;
}

function actionButton(action, model) {
  const button = element("button", "quiet", LABELS[action]);
  button.type = "button";
  button.dataset.action = action;
  button.dataset.model = model;
  button.setAttribute("aria-label", `${LABELS[action]} ${model}`);
  return button;
}

function facts(model) {
  const parts = [...(model.tasks || [])];
  if (model.context_length) parts.push(`${model.context_length.toLocaleString("en")} tokens`);
  if (model.dimensions) parts.push(`${model.dimensions} dimensions`);
  if (model.aliases?.length) parts.push(`also ${model.aliases.join(", ")}`);
  return parts.join(" · ");
}

function element(name, className, text) {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}
