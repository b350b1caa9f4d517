/** The list above the composer: commands, options, choices. The focus stays in the text; arrow keys move the highlight. */
import { fill, h } from "./dom.js";

export class Suggestions {
  #rows = [];
  #nodes = [];
  #active = -1;

  /** `panel` is filled and hidden as needed. */
  constructor(panel) {
    this.panel = panel;
    panel.addEventListener("mousedown", (event) => event.preventDefault());
    panel.addEventListener("click", (event) => {
      const at = this.#nodes.indexOf(event.target.closest("[role=option]"));
      if (at >= 0) this.#rows[at].pick();
    });
  }

  /**
   * Show `rows` (`[{label, detail, mark, pick}]`) under a heading. `active` is the row highlighted at once, -1 for none;
   * `field` is the text field that keeps the focus.
   */
  show({ title, note, rows, active = -1, field, empty }) {
    this.field = field;
    this.#rows = rows;
    this.#nodes = rows.map((row, index) => h(
      "div", { class: "suggestion", role: "option", id: `suggestion-${index}`, "data-suggestion": row.label, "aria-selected": "false" },
      row.mark, h("span", { class: "suggestion-label" }, row.label), row.detail && h("span", { class: "suggestion-detail" }, row.detail),
    ));
    fill(
      this.panel,
      (title || note) && h("div", { class: "suggestions-head" }, title && h("b", {}, title), note && h("span", {}, note)),
      (rows.length > 0 || empty) && h("div", { class: "suggestions-rows", role: "listbox", id: "suggestions-list", "aria-label": "Suggestions" }, this.#nodes.length ? this.#nodes : h("div", { class: "suggestions-empty" }, empty)),
    );
    this.panel.hidden = false;
    field.setAttribute("aria-controls", "suggestions-list");
    field.setAttribute("aria-expanded", String(rows.length > 0));
    this.#highlight(Math.min(active, rows.length - 1));
  }

  hide() {
    this.panel.hidden = true;
    this.#rows = [];
    this.#nodes = [];
    this.#active = -1;
    this.field?.setAttribute("aria-expanded", "false");
    this.field?.removeAttribute("aria-activedescendant");
  }

  get isOpen() {
    return !this.panel.hidden;
  }

  get hasActive() {
    return this.isOpen && this.#active >= 0;
  }

  /** Move the highlight; false when there is nothing to move over. */
  move(by) {
    if (!this.isOpen || this.#rows.length === 0) return false;
    const from = this.#active < 0 && by < 0 ? 0 : this.#active;
    this.#highlight((from + by + this.#rows.length) % this.#rows.length);
    return true;
  }

  /** Take the highlighted row; false when none is. */
  pick() {
    if (!this.hasActive) return false;
    this.#rows[this.#active].pick();
    return true;
  }

  #highlight(index) {
    this.#nodes[this.#active]?.setAttribute("aria-selected", "false");
    this.#active = index;
    const node = this.#nodes[index];
    if (!node) { this.field?.removeAttribute("aria-activedescendant"); return; }
    node.setAttribute("aria-selected", "true");
    node.scrollIntoView({ block: "nearest" });
    this.field?.setAttribute("aria-activedescendant", node.id);
  }
}
