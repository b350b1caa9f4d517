/** The sandbox's page API: JSON over HTTP, and one WebSocket of events per member. */

/** The sandbox refused a request; the message is the sentence to show. */
export class Refusal extends Error {}

async function request(path, { query = {}, body, signal } = {}) {
  const address = new URL(path, location.origin);
  for (const [name, value] of Object.entries(query)) address.searchParams.set(name, value);
  const form = body instanceof FormData;
  let answer;
  try {
    answer = await fetch(address, {
      method: body === undefined ? "GET" : "POST",
      headers: body === undefined || form ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : form ? body : JSON.stringify(body),
      signal,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal("The sandbox does not answer. Is flux-bot still running?");
  }
  const reply = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refusal(reply.error ?? reply.message ?? `The sandbox answered ${answer.status}.`);
  return reply;
}

export const api = {
  world: () => request("/sandbox/world"),
  commands: () => request("/sandbox/commands"),
  messages: (member, channel, limit) => request("/sandbox/messages", { query: { member, channel, limit } }),
  runCommand: (form) => request("/sandbox/commands", { body: form }),
  autocomplete: (form, signal) => request("/sandbox/autocomplete", { body: form, signal }),
  press: (form) => request("/sandbox/components", { body: form }),
  submitModal: (form) => request("/sandbox/modals", { body: form }),
  interaction: (id) => request(`/sandbox/interactions/${encodeURIComponent(id)}`),
  faults: () => request("/sandbox/faults"),
  inject: (fault) => request("/sandbox/faults", { body: fault }),
  upload: (member, file) => {
    const form = new FormData();
    form.append("file", file, file.name);
    return request("/sandbox/uploads", { query: { member }, body: form });
  },
};

const FIRST_WAIT_MS = 400;
const LONGEST_WAIT_MS = 10_000;

/** The event stream of one member. Reconnects by itself, waiting longer each time, until closed. */
export class EventStream {
  #socket = null;
  #timer = null;
  #wait = FIRST_WAIT_MS;
  #closed = false;

  /** `onEvent(type, data)` for each frame; `onOpen()` after every connect; `onLost()` when the connection breaks. */
  constructor(member, { onEvent, onOpen, onLost }) {
    this.member = member;
    this.handlers = { onEvent, onOpen, onLost };
    this.#connect();
  }

  #connect() {
    const address = new URL("/sandbox/events", location.origin);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    address.searchParams.set("member", this.member);
    const socket = new WebSocket(address);
    this.#socket = socket;
    socket.addEventListener("open", () => {
      this.#wait = FIRST_WAIT_MS;
      if (!this.#closed) this.handlers.onOpen();
    });
    socket.addEventListener("message", (frame) => {
      if (this.#closed) return;
      const { type, data } = JSON.parse(frame.data);
      this.handlers.onEvent(type, data);
    });
    socket.addEventListener("close", () => {
      if (this.#closed) return;
      this.handlers.onLost();
      // Jitter keeps several open tabs from knocking in the same instant.
      this.#timer = setTimeout(() => this.#connect(), this.#wait * (0.75 + Math.random() / 2));
      this.#wait = Math.min(this.#wait * 2, LONGEST_WAIT_MS);
    });
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#socket.close();
  }
}
