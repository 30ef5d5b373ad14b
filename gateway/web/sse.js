// Server-sent events out of a fetch body. Knows the format of the stream and nothing of what is in it.

/**
 * The `data` of each event, in order. Comments (keep-alives) and other fields are passed over; an event
 * that the stream's end cuts off is dropped, as the standard says.
 */
export async function* events(body) {
  let data = [];
  for await (const line of lines(body)) {
    if (line === "") {
      if (data.length > 0) yield data.join("\n");
      data = [];
    } else if (line.startsWith("data:")) {
      data.push(line.slice(line[5] === " " ? 6 : 5));
    }
  }
}

async function* lines(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    for (const part of parts) yield part.endsWith("\r") ? part.slice(0, -1) : part;
  }
}
