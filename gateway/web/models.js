// The models: the picker, the note on the chosen one, and the list with states. Owns these elements only.

const picker = document.getElementById("model");
const note = document.getElementById("model-note");
const list = document.getElementById("models");

let known = [];

picker.addEventListener("change", showNote);

export const chosenModel = () => picker.value;

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
  item.append(head, element("p", "help", facts(model)));
  if (model.error) item.append(element("p", "error", model.error));
  return item;
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
