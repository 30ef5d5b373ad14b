// The gateway's API as the page uses it. Owns the key and the shape of errors; touches no element.

import { events } from "./sse.js";

const KEY = "llm-cortex-api-key";

export const rememberKey = (key) => sessionStorage.setItem(KEY, key);
export const hasKey = () => sessionStorage.getItem(KEY) !== null;

/** A refusal or failure that the server told about; `status` is 0 if it came inside a stream. */
export class ApiError extends Error {
  constructor(error, status, requestId) {
    super(error.message || "The server gave no reason.");
    this.code = error.code || error.type || "";
    this.status = status;
    this.requestId = requestId || "";
  }
}

export async function listModels() {
  const response = await request("v1/models", {});
  return (await response.json()).data;
}

/** Ask for a model to be loaded or unloaded (`action`); its state tells what comes of it. */
export async function askForModel(action, model) {
  const body = JSON.stringify({ model, wait: false });
  const headers = { "content-type": "application/json" };
  await request(`admin/models/${action}`, { method: "POST", headers, body });
}

export async function modelDetails(name) {
  const response = await request(`v1/models/${encodeURIComponent(name)}`, {});
  return response.json();
}

/** One picture as it is painted: {step, steps}, previews and the finished one, which alone has `usage`. Throws
 * as streamChat does. */
export async function* streamPicture(order, signal) {
  const body = JSON.stringify({ ...order, stream: true, progress: true });
  const headers = { "content-type": "application/json" };
  const response = await request("v1/images/generations", { method: "POST", headers, body, signal });
  const requestId = response.headers.get("x-request-id");
  let done = false;
  for await (const data of events(response.body)) {
    const event = JSON.parse(data);
    if (event.error) throw new ApiError(event.error, 0, requestId);
    done = event.type === "image_generation.completed";
    yield event;
  }
  if (!done) throw new ApiError({ message: "The connection ended before the picture did." }, 0, requestId);
}

/**
 * One chat answer as it comes: {text}, then {finish} and {usage}. Throws ApiError, AbortError where
 * `signal` stops it, and TypeError where the server is out of reach.
 */
export async function* streamChat(chat, signal) {
  const body = JSON.stringify({ ...chat, stream: true, stream_options: { include_usage: true } });
  const headers = { "content-type": "application/json" };
  const response = await request("v1/chat/completions", { method: "POST", headers, body, signal });
  const requestId = response.headers.get("x-request-id");
  let done = false;
  for await (const data of events(response.body)) {
    if (data === "[DONE]") {
      done = true;
      continue;
    }
    const chunk = JSON.parse(data);
    if (chunk.error) throw new ApiError(chunk.error, 0, requestId);
    const choice = chunk.choices[0];
    if (choice?.delta?.content) yield { text: choice.delta.content };
    if (choice?.finish_reason) yield { finish: choice.finish_reason };
    if (chunk.usage) yield { usage: chunk.usage };
  }
  if (!done) throw new ApiError({ message: "The connection ended before the answer did." }, 0, requestId);
}

async function request(path, options) {
  const key = sessionStorage.getItem(KEY);
  const headers = { ...options.headers, ...(key && { authorization: `Bearer ${key}` }) };
  const response = await fetch(path, { ...options, headers });
  if (response.ok) return response;
  throw new ApiError(await errorOf(response), response.status, response.headers.get("x-request-id"));
}

async function errorOf(response) {
  try {
    return (await response.json()).error || {};
  } catch {
    return { message: `The server answered ${response.status} ${response.statusText}`.trim() };
  }
}
