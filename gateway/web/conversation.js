// The conversation: what was said, and how it is shown. Text of models and people goes in as text nodes
// only, never as HTML.

const log = document.getElementById("log");
const welcome = document.getElementById("welcome");

/** Completed exchanges, as messages for the next request. */
let history = [];

export const messagesSoFar = () => [...history];

export function clear() {
  history = [];
  log.replaceChildren(welcome);
}

/** Show the user's message and an empty answer to it; the Answer fills in the rest. */
export function begin(prompt) {
  welcome.remove();
  const question = bubble("user", "You");
  question.text.data = prompt;
  log.append(question.box);
  const answer = new Answer(prompt);
  log.scrollTop = log.scrollHeight;
  return answer;
}

/** One answer that is coming in. Ends with exactly one of `finish`, `stopped` or `fail`. */
class Answer {
  constructor(prompt) {
    this.prompt = prompt;
    this.history = history; // of this conversation, even if a new one is begun meanwhile
    this.startedAt = performance.now();
    this.firstAt = 0;
    this.pieces = 0;
    const { box, text } = bubble("assistant", "Answer");
    this.box = box;
    this.text = text;
    this.status = document.createElement("p");
    this.status.className = "status";
    this.status.textContent = "waiting for the model…";
    box.append(this.status);
    box.setAttribute("aria-busy", "true");
    log.append(box);
  }

  add(piece) {
    this.firstAt ||= performance.now();
    this.pieces += 1;
    following(() => {
      this.text.appendData(piece);
      this.status.textContent = this.speed(this.pieces);
    });
  }

  finish(reason, usage) {
    const parts = [];
    if (usage) {
      parts.push(`${usage.prompt_tokens} in, ${usage.completion_tokens} out`);
      parts.push(this.speed(usage.completion_tokens));
    }
    if (this.firstAt) parts.push(`first after ${((this.firstAt - this.startedAt) / 1000).toFixed(2)} s`);
    if (reason === "length") parts.push("cut off at the token limit");
    this.end("done", parts.join(" · "));
  }

  stopped() {
    this.end("stopped", this.pieces ? `stopped · ${this.speed(this.pieces)}` : "stopped");
  }

  fail(error) {
    const details = [error.status || "", error.code, error.requestId && `request ${error.requestId}`];
    const alert = document.createElement("p");
    alert.className = "error";
    alert.setAttribute("role", "alert");
    alert.textContent = error.message;
    following(() => this.box.insertBefore(alert, this.status));
    this.end("failed", details.filter(Boolean).join(" · "));
  }

  end(state, summary) {
    following(() => (this.status.textContent = summary));
    this.box.dataset.state = state;
    this.box.removeAttribute("aria-busy");
    // An exchange without an answer is left out: a model's template may refuse two questions in a row.
    if (this.text.length === 0) return;
    this.history.push({ role: "user", content: this.prompt }, { role: "assistant", content: this.text.data });
  }

  /** Tokens per second between the first token and now. */
  speed(tokens) {
    const seconds = (performance.now() - this.firstAt) / 1000;
    return tokens > 1 && seconds > 0 ? `${((tokens - 1) / seconds).toFixed(1)} tokens/s` : "";
  }
}

function bubble(role, name) {
  const box = document.createElement("article");
  box.className = `message ${role}`;
  box.setAttribute("aria-label", name);
  const body = document.createElement("div");
  body.className = "text";
  const text = document.createTextNode("");
  body.append(text);
  box.append(body);
  return { box, text };
}

/** Make a change to the log and stay at its end, unless the reader has scrolled up. */
function following(change) {
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  change();
  if (atEnd) log.scrollTop = log.scrollHeight;
}
