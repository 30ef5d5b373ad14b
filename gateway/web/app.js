// Ties the page together: the composer, the stop button, the key, and the look at the models every few
// seconds.

import { ApiError, askForModel, hasKey, listModels, rememberKey, streamChat } from "./api.js";
import * as conversation from "./conversation.js";
import { chosenModel, onModelAction, showModels } from "./models.js";

const REFRESH_MS = 4000;

const byId = (id) => document.getElementById(id);
const composer = byId("composer");
const prompt = byId("prompt");
const send = byId("send");
const stop = byId("stop");
const keyForm = byId("key-form");

let running = null; // AbortController of the answer that is coming in

composer.addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});
prompt.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  ask();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") running?.abort();
});
stop.addEventListener("click", () => running?.abort());
byId("new-chat").addEventListener("click", () => {
  running?.abort();
  conversation.clear();
  prompt.focus();
});
keyForm.addEventListener("submit", (event) => {
  event.preventDefault();
  rememberKey(byId("api-key").value.trim());
  refresh();
});

onModelAction(async (action, model) => {
  try {
    await askForModel(action, model);
  } catch (error) {
    throw told(error);
  }
  await refresh();
});

async function ask() {
  const text = prompt.value.trim();
  if (text === "" || running || !settingsAreValid()) return;
  const request = chatRequest(text);
  prompt.value = "";
  running = new AbortController();
  showRunning();
  const answer = conversation.begin(text);
  try {
    await receive(request, answer);
  } catch (error) {
    if (error.name === "AbortError") answer.stopped();
    else answer.fail(told(error));
  } finally {
    running = null;
    showRunning();
    prompt.focus();
  }
}

async function receive(request, answer) {
  let finish = "";
  let usage = null;
  for await (const event of streamChat(request, running.signal)) {
    if (event.text) answer.add(event.text);
    finish = event.finish || finish;
    usage = event.usage || usage;
  }
  answer.finish(finish, usage);
}

function chatRequest(text) {
  const system = byId("system").value.trim();
  const temperature = byId("temperature").valueAsNumber;
  const maxTokens = byId("max-tokens").valueAsNumber;
  return {
    model: chosenModel(),
    messages: [
      ...(system ? [{ role: "system", content: system }] : []),
      ...conversation.messagesSoFar(),
      { role: "user", content: text },
    ],
    ...(!Number.isNaN(temperature) && { temperature }),
    ...(!Number.isNaN(maxTokens) && { max_completion_tokens: maxTokens }),
  };
}

const settingsAreValid = () => ["temperature", "max-tokens"].every((id) => byId(id).reportValidity());

/** The error for the reader; asks for a key where one is missing or wrong. */
function told(error) {
  if (error.status === 401) askForKey();
  if (!(error instanceof TypeError)) return error; // TypeError: what fetch throws for any network fault
  return new ApiError({ message: "The server cannot be reached, or the connection was lost." }, 0);
}

function askForKey() {
  if (!keyForm.hidden) return;
  keyForm.hidden = false;
  byId("api-key").focus();
}

function showRunning() {
  send.hidden = running !== null;
  stop.hidden = running === null;
}

async function refresh() {
  try {
    showModels(await listModels());
    keyForm.hidden = true;
    showServerState("ready", "connected");
  } catch (error) {
    const { message, status } = told(error);
    showServerState("failed", status === 401 ? keyWanted() : message);
  }
}

const keyWanted = () => (hasKey() ? "API key not accepted" : "needs an API key");

function showServerState(state, text) {
  const shown = byId("server-state");
  shown.dataset.state = state;
  if (shown.textContent !== text) shown.textContent = text;
}

async function watch() {
  if (!document.hidden) await refresh();
  setTimeout(watch, REFRESH_MS);
}

watch();
