/** The messages of the open channel: kept in order, drawn in place, and the reader's own marks on them. */
import { h } from "./dom.js";
import { openLightbox } from "./lightbox.js";
import { continues, interactionOf, messageNode } from "./message.js";
import { patch } from "./patch.js";

const DISCORD_EPOCH_MS = 1_420_070_400_000n;
const NEAR_BOTTOM_PX = 80;
const MOST_SHOWN = 300;
const day = new Intl.DateTimeFormat("en-GB", { dateStyle: "long" });

/** Snowflakes in the order of time. */
function compareIds(one, other) {
  return one.length - other.length || (one < other ? -1 : one > other ? 1 : 0);
}

export class Timeline {
  #messages = new Map();
  #order = [];
  #nodes = new Map();
  #states = new Map();
  #dismissed = new Set();
  #dirty = new Set();
  #frame = null;
  #pinned = true;

  /**
   * `root` scrolls and holds `list`. `heard` are the actions the timeline does not do itself:
   * `{press, select, menu, command}`, called with the message and the node that was used; `changed()` after every
   * drawing; `dropped()` when the oldest messages were taken off a long page.
   */
  constructor(root, list, jump, heard) {
    this.root = root;
    this.list = list;
    this.jump = jump;
    this.heard = heard;
    root.addEventListener("scroll", () => this.#notePosition());
    jump.addEventListener("click", () => this.scrollToEnd());
    new ResizeObserver(() => this.#pinned && this.scrollToEnd()).observe(list);
    new ResizeObserver(() => this.#pinned && this.scrollToEnd()).observe(root);
    list.addEventListener("click", (event) => this.#clicked(event));
    list.addEventListener("keydown", (event) => {
      if ((event.key === "Enter" || event.key === " ") && event.target.matches(".spoiler")) { event.preventDefault(); reveal(event.target); }
    });
    list.addEventListener("contextmenu", (event) => {
      const message = this.#messageOf(event.target);
      if (!message || message.local || event.target.closest("a, img")) return;
      event.preventDefault();
      this.heard.menu(message, { x: event.clientX, y: event.clientY });
    });
  }

  /** Show a channel: `directory` names people, `me` is the member at the keyboard. The same channel again only updates. */
  show({ directory, me, channel, messages }) {
    const same = this.channel === channel && this.me === me;
    Object.assign(this, { directory, me, channel });
    if (!same) {
      this.#states.clear();
      this.#pinned = true;
      this.list.replaceChildren();
      this.#nodes.clear();
    }
    const locals = same ? [...this.#messages.values()].filter((message) => message.local) : [];
    this.#messages = new Map([...messages, ...locals].filter((message) => !this.#dismissed.has(message.id)).map((message) => [message.id, message]));
    this.#order = [...this.#messages.keys()].sort(compareIds);
    for (const [id, node] of this.#nodes) if (!this.#messages.has(id)) { node.remove(); this.#nodes.delete(id); }
    for (const id of this.#order) this.#dirty.add(id);
    const fromEnd = this.root.scrollHeight - this.root.scrollTop;
    this.#draw();
    if (!same) this.scrollToEnd();
    else if (!this.#pinned) this.root.scrollTop = this.root.scrollHeight - fromEnd;
  }

  get isEmpty() {
    return this.#order.length === 0;
  }

  /** How many messages are on the page. */
  get size() {
    return this.#order.length;
  }

  /** A message changed; one that is not on the page, because it is older than what is shown, stays away. */
  update(message) {
    if (this.#messages.has(message.id)) this.put(message);
  }

  /** A message came or changed. */
  put(message) {
    if (this.#dismissed.has(message.id)) return;
    if (!this.#messages.has(message.id)) {
      let at = this.#order.length;
      while (at > 0 && compareIds(this.#order[at - 1], message.id) > 0) at -= 1;
      this.#order.splice(at, 0, message.id);
      if (this.#order[at + 1]) this.#dirty.add(this.#order[at + 1]);
      const interaction = interactionOf(message);
      if (interaction) this.removeLocal(interaction.id);
      if (!this.#pinned) this.jump.hidden = false;
    } else {
      // The bot has answered with an edit: what was chosen in a select is its business again.
      this.stateOf(message.id).chosen.clear();
    }
    this.#messages.set(message.id, message);
    this.#schedule(message.id);
  }

  /** A message is gone. */
  remove(id) {
    const at = this.#order.indexOf(id);
    if (at < 0) return;
    this.#order.splice(at, 1);
    this.#messages.delete(id);
    this.#states.delete(id);
    this.#nodes.get(id)?.remove();
    this.#nodes.delete(id);
    for (const [other, message] of this.#messages) if (message.message_reference?.message_id === id) this.#schedule(other);
    if (this.#order[at]) this.#schedule(this.#order[at]);
    this.heard.changed();
  }

  /** Show "Sending command…" until the interaction is settled. Returns the local message's id. */
  addLocal(name, commandType, user) {
    const id = String((BigInt(Date.now()) - DISCORD_EPOCH_MS) << 22n);
    this.#pinned = true;
    this.put({
      id, local: "sending", author: this.directory.bot, timestamp: new Date().toISOString(), flags: 64, content: "",
      interaction_metadata: { id: null, name, user, type: 2, command_type: commandType },
    });
    return id;
  }

  /** Tie a local message to its interaction, so that the answer replaces it. */
  bindLocal(id, interactionId) {
    const local = this.#messages.get(id);
    if (!local) return;
    const answered = [...this.#messages.values()].some((message) => !message.local && interactionOf(message)?.id === interactionId);
    if (answered) this.remove(id);
    else local.interaction_metadata.id = interactionId;
  }

  removeLocal(interactionId) {
    for (const [id, message] of this.#messages) if (message.local === "sending" && message.interaction_metadata.id === interactionId) this.remove(id);
  }

  failLocal(id, sentence) {
    const local = this.#messages.get(id);
    if (local) this.put({ ...local, local: "failed", content: sentence });
  }

  /** What this reader did to a message: buttons waiting, choices made, a failure to show. */
  stateOf(id) {
    if (!this.#states.has(id)) this.#states.set(id, { pending: new Set(), chosen: new Map(), failed: null });
    return this.#states.get(id);
  }

  /** Change that and draw the message again. */
  mark(id, change) {
    if (!this.#messages.has(id)) return;
    change(this.stateOf(id));
    this.#schedule(id);
  }

  scrollToEnd() {
    this.#pinned = true;
    this.jump.hidden = true;
    this.root.scrollTop = this.root.scrollHeight;
  }

  #notePosition() {
    this.#pinned = this.root.scrollHeight - this.root.scrollTop - this.root.clientHeight < NEAR_BOTTOM_PX;
    if (this.#pinned) this.jump.hidden = true;
  }

  #schedule(id) {
    this.#dirty.add(id);
    this.#frame ??= requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    if (this.#frame !== null) cancelAnimationFrame(this.#frame);
    this.#frame = null;
    for (let index = 0; index < this.#order.length; index += 1) {
      const id = this.#order[index];
      if (!this.#dirty.has(id)) continue;
      const message = this.#messages.get(id);
      const previous = index > 0 ? this.#messages.get(this.#order[index - 1]) : null;
      const date = day.format(new Date(message.timestamp));
      const newDay = previous !== null && day.format(new Date(previous.timestamp)) !== date;
      const grouped = !newDay && continues(message, previous);
      const wanted = messageNode(message, { directory: this.directory, me: this.me, state: this.stateOf(id), grouped, original: this.#messages.get(message.message_reference?.message_id) ?? null });
      if (newDay) wanted.dataset.day = date;
      const node = this.#nodes.get(id);
      if (node) this.#nodes.set(id, patch(node, wanted));
      else {
        this.list.insertBefore(wanted, this.#nodeAfter(index));
        this.#nodes.set(id, wanted);
      }
    }
    this.#dirty.clear();
    if (this.#pinned) {
      this.#shorten();
      this.scrollToEnd();
    }
    this.heard.changed();
  }

  /** Somebody who reads the newest messages needs no endless page above them. */
  #shorten() {
    if (this.#order.length <= MOST_SHOWN) return;
    for (const id of this.#order.splice(0, this.#order.length - MOST_SHOWN)) {
      this.#messages.delete(id);
      this.#states.delete(id);
      this.#nodes.get(id)?.remove();
      this.#nodes.delete(id);
    }
    this.heard.dropped();
  }

  #nodeAfter(index) {
    for (let next = index + 1; next < this.#order.length; next += 1) {
      const node = this.#nodes.get(this.#order[next]);
      if (node) return node;
    }
    return null;
  }

  #messageOf(target) {
    return this.#messages.get(target.closest("[data-message-id]")?.dataset.messageId) ?? null;
  }

  #clicked(event) {
    const node = event.target.closest("[data-action]");
    const message = node && this.#messageOf(node);
    if (!message) return;
    const act = {
      reveal: () => reveal(node),
      "reveal-file": () => reveal(node.parentElement),
      "reveal-container": () => reveal(node.parentElement),
      picture: () => this.#enlarge(node),
      dismiss: () => { this.#dismissed.add(message.id); this.remove(message.id); },
      jump: () => this.goTo(node.dataset.target),
      "message-menu": () => this.heard.menu(message, node),
      press: () => this.heard.press(message, node),
      select: () => this.heard.select(message, node),
      command: () => this.heard.command(node.dataset.command),
    }[node.dataset.action];
    act?.();
  }

  #enlarge(node) {
    if (isCovered(node)) { reveal(node); return; }
    const group = node.closest(".gallery")?.querySelectorAll(".gallery-item") ?? [node];
    const open = [...group].filter((item) => !isCovered(item) && item.querySelector("img"));
    openLightbox(open.map((item) => ({ url: item.dataset.url, name: item.dataset.name, description: item.dataset.description })), open.indexOf(node));
  }

  /** Show a message that is drawn here, and point at it. */
  goTo(id) {
    const node = this.#nodes.get(id);
    if (!node) return;
    node.scrollIntoView({ block: "center" });
    node.focus();
    node.classList.add("flash");
    setTimeout(() => node.classList.remove("flash"), 1600);
  }
}

function isCovered(node) {
  return node.dataset.spoiler !== undefined && node.dataset.revealed === undefined;
}

function reveal(node) {
  node.dataset.revealed = "";
  // The label said only that something is hidden; what it hid speaks for itself now.
  node.removeAttribute("aria-label");
}

/** An empty channel's picture and hint; `suggest` fills the composer with `example`. */
export function emptyChannel(channel, botName, example, suggest) {
  return h(
    "div", { class: "empty", "data-empty": true },
    h("div", { class: "empty-mark", "aria-hidden": "true" }, channel.dm ? "@" : "#"),
    h("h2", {}, channel.dm ? `You and ${botName}` : `Welcome to #${channel.name}`),
    h("p", {}, "Nothing has been drawn here yet. Try your first picture:"),
    h("button", { class: "hint", type: "button", "data-hint": true, onclick: () => suggest(example) }, h("span", {}, "Type "), h("code", {}, example)),
  );
}
