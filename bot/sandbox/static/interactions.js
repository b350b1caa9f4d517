/** What became of the interactions this tab started. The event may arrive before the answer that names its id; both orders work. */
import { api } from "./api.js";

// Discord gives the bot 3 s; past that, ask the sandbox in case the event was lost with the connection.
const ASK_AFTER_MS = 4000;
const ASK_TIMES = 5;
const REMEMBERED = 200;

export class Interactions {
  #outcomes = new Map();
  #waiting = new Map();
  #modals = new Map();
  #started = new Set();

  /** `onModal(modal)` runs for each modal that answers an interaction of this tab. */
  constructor(onModal) {
    this.onModal = onModal;
  }

  /** Resolve to `{state: "acknowledged" | "failed", reason}` for an interaction this tab has just started. */
  outcome(id) {
    this.#started.add(id);
    const modal = this.#modals.get(id);
    if (modal) this.receiveModal(modal);
    const known = this.#outcomes.get(id);
    if (known) return Promise.resolve(known);
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      setTimeout(() => this.#ask(id, ASK_TIMES), ASK_AFTER_MS);
    });
  }

  /** An `interaction` event arrived. */
  settle(id, state, reason = null) {
    const outcome = { state, reason };
    this.#outcomes.set(id, outcome);
    if (this.#outcomes.size > REMEMBERED) this.#outcomes.delete(this.#outcomes.keys().next().value);
    this.#waiting.get(id)?.(outcome);
    this.#waiting.delete(id);
  }

  /** A `modal` event arrived: it opens in the tab that asked for it, and only there. */
  receiveModal(modal) {
    if (!this.#started.has(modal.interaction_id)) {
      this.#modals.set(modal.interaction_id, modal);
      if (this.#modals.size > REMEMBERED) this.#modals.delete(this.#modals.keys().next().value);
      return;
    }
    this.#modals.delete(modal.interaction_id);
    this.#started.delete(modal.interaction_id);
    this.settle(modal.interaction_id, "acknowledged");
    this.onModal(modal);
  }

  async #ask(id, times) {
    if (!this.#waiting.has(id)) return;
    const seen = await api.interaction(id).catch(() => null);
    if (seen?.modal) this.receiveModal({ interaction_id: id, ...seen.modal });
    else if (seen && seen.state !== "pending") this.settle(id, seen.state, seen.reason);
    else if (times > 1) setTimeout(() => this.#ask(id, times - 1), ASK_AFTER_MS);
    else this.settle(id, "failed", "The application did not respond");
  }
}
