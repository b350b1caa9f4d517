/** The Trouble panel: make the stand-in for Discord misbehave, to see how the bot bears it. */
import { api } from "./api.js";
import { fill, h } from "./dom.js";

const PERMISSIONS = {
  VIEW_CHANNEL: "View the channel", SEND_MESSAGES: "Send messages", EMBED_LINKS: "Embed links",
  ATTACH_FILES: "Attach files", READ_MESSAGE_HISTORY: "Read the history", USE_EXTERNAL_EMOJIS: "Use external emoji",
};
const SLOWEST_MS = 5000;

export class TroublePanel {
  /** Fill `panel`; `state` (a fault object of the page API) is shown and kept up to date through `show`. */
  constructor(panel) {
    this.said = h("div", { class: "trouble-said", role: "status", "data-trouble-said": true });
    this.current = h("ul", { class: "trouble-current", "data-trouble-current": true });
    const errors = number("How many", 3, 1, 1000, "rest-500");
    const limits = number("How many", 3, 1, 1000, "rest-429");
    const wait = number("Seconds", 2, 0, 60, "retry-after", 0.1);
    const everywhere = h("input", { type: "checkbox", "data-trouble": "global" });
    this.slow = h("input", { type: "range", min: 0, max: SLOWEST_MS, step: 100, value: 0, "data-trouble": "slow", "aria-label": "Added delay in milliseconds" });
    this.slowText = h("output", {}, "0 ms");
    this.slow.addEventListener("input", () => { this.slowText.textContent = `${this.slow.value} ms`; });
    this.slow.addEventListener("change", () => this.#inject({ slow_ms: Number(this.slow.value) }, `Every call takes ${this.slow.value} ms longer.`));
    this.closed = h("input", { type: "checkbox", "data-trouble": "closed-dms", onchange: () => this.#inject({ closed_dms: this.closed.checked }, this.closed.checked ? "Direct messages are closed." : "Direct messages are open.") });
    this.denials = Object.entries(PERMISSIONS).map(([bit, label]) => {
      const input = h("input", { type: "checkbox", value: bit, "data-trouble": `deny-${bit}`, onchange: () => this.#deny() });
      return [input, h("label", { class: "choice" }, input, label)];
    });
    fill(
      panel,
      h("p", { class: "trouble-intro" }, "Discord has bad days. Give the bot one and watch whether a picture still arrives."),
      this.current,
      group("Gateway", "Cut the bot's connection. It has to find back without losing anything.", h(
        "div", { class: "trouble-buttons" },
        this.#button("Drop", { drop_gateway: "resume" }, "The connection was cut; the bot may resume.", "resume"),
        this.#button("Ask to reconnect", { drop_gateway: "reconnect" }, "The bot was told to reconnect.", "reconnect"),
        this.#button("Invalidate session", { drop_gateway: "invalid" }, "The session was declared invalid.", "invalid"),
      )),
      group("Server errors", "The next calls of the bot answer 500.", h("div", { class: "trouble-row" }, errors.node, this.#button("Fail", () => ({ rest_500: errors.value() }), () => `The next ${errors.value()} calls fail.`, "rest-500-apply"))),
      group("Rate limits", "The next calls answer 429 and name a wait.", h(
        "div", { class: "trouble-row" }, limits.node, wait.node,
        h("label", { class: "choice" }, everywhere, "Global"),
        this.#button("Limit", () => ({ rest_429: limits.value(), retry_after: wait.value(), global: everywhere.checked }), () => `The next ${limits.value()} calls are rate limited.`, "rest-429-apply"),
      )),
      group("Interaction tokens", "They live 15 minutes. End them all now.", this.#button("Expire tokens", { expire_tokens: true }, "Every token given so far is dead.", "expire")),
      group("Delay", "Added to every call.", h("div", { class: "trouble-row" }, this.slow, this.slowText)),
      group("Permissions taken from the bot", null, h("div", { class: "trouble-choices" }, this.denials.map(([, label]) => label), h("label", { class: "choice" }, this.closed, "Members take no direct messages"))),
      this.#button("All is well again", { rest_500: 0, rest_429: 0, slow_ms: 0, deny: [], closed_dms: false }, "All faults are gone.", "clear"),
      this.said,
    );
  }

  /** Show the faults in force. */
  show(faults) {
    const words = [
      faults.rest_500 > 0 && `${faults.rest_500} server error${faults.rest_500 === 1 ? "" : "s"} to come`,
      faults.rest_429 > 0 && `${faults.rest_429} rate limit${faults.rest_429 === 1 ? "" : "s"} to come`,
      faults.slow_ms > 0 && `Calls slowed by ${faults.slow_ms} ms`,
      faults.deny?.length > 0 && `Denied: ${faults.deny.map((bit) => PERMISSIONS[bit] ?? bit).join(", ")}`,
      faults.closed_dms && "Direct messages closed",
    ].filter(Boolean);
    fill(this.current, words.length ? words.map((word) => h("li", {}, word)) : h("li", { class: "calm" }, "No trouble at the moment"));
    this.slow.value = faults.slow_ms ?? 0;
    this.slowText.textContent = `${this.slow.value} ms`;
    this.closed.checked = faults.closed_dms === true;
    for (const [input] of this.denials) input.checked = faults.deny?.includes(input.value) ?? false;
    return words.length;
  }

  #deny() {
    const deny = this.denials.filter(([input]) => input.checked).map(([input]) => input.value);
    this.#inject({ deny }, deny.length ? `The bot may not: ${deny.map((bit) => PERMISSIONS[bit]).join(", ")}.` : "The bot has its permissions back.");
  }

  #button(label, fault, said, name) {
    return h("button", {
      class: "button button-secondary", type: "button", "data-trouble": name,
      onclick: () => this.#inject(typeof fault === "function" ? fault() : fault, typeof said === "function" ? said() : said),
    }, label);
  }

  async #inject(fault, said) {
    try {
      const faults = await api.inject(fault);
      if (faults && "rest_500" in faults) this.show(faults);
      this.said.textContent = said;
    } catch (error) {
      this.said.textContent = error.message;
    }
  }
}

function group(title, note, ...content) {
  return h("fieldset", { class: "trouble-group" }, h("legend", {}, title), note && h("p", {}, note), content);
}

function number(label, value, min, max, name, step = 1) {
  const input = h("input", { class: "field", type: "number", value, min, max, step, "data-trouble": name });
  return { node: h("label", { class: "trouble-number" }, h("span", {}, label), input), value: () => Math.min(Math.max(Number(input.value) || 0, min), max) };
}
