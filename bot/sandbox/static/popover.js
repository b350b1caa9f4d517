/** Menus and select lists that float above the page. The browser's popover gives light dismissal and Escape. */
import { emojiOf } from "./components.js";
import { h, icon } from "./dom.js";

const GAP = 6;
const FILTER_FROM = 8;

/** Show `panel` beside `anchor`, an element or a point `{x, y}`. `onClose` runs once it is gone, however it closed. */
function float(anchor, panel, onClose) {
  const element = anchor instanceof Element ? anchor : null;
  panel.popover = "auto";
  // Inside a modal dialog everything outside is inert, so the panel goes in.
  (element?.closest("dialog") ?? document.body).append(panel);
  panel.addEventListener("toggle", (event) => {
    if (event.newState !== "closed") return;
    panel.remove();
    element?.setAttribute("aria-expanded", "false");
    onClose();
  });
  panel.showPopover();
  element?.setAttribute("aria-expanded", "true");
  const box = element ? element.getBoundingClientRect() : { left: anchor.x, right: anchor.x, top: anchor.y, bottom: anchor.y, width: 0 };
  if (panel.matches(".select-list")) panel.style.minWidth = `${Math.min(box.width, innerWidth - 2 * GAP)}px`;
  const { width, height } = panel.getBoundingClientRect();
  const fits = box.bottom + GAP + height <= innerHeight - GAP;
  const top = fits ? box.bottom + GAP : Math.max(GAP, box.top - GAP - height);
  panel.style.left = `${Math.max(GAP, Math.min(box.left, innerWidth - width - GAP))}px`;
  panel.style.top = `${Math.min(top, Math.max(GAP, innerHeight - height - GAP))}px`;
}

/** Arrow keys, Home and End move the focus over what `selector` finds in `panel`. */
function roveFocus(panel, selector) {
  panel.addEventListener("keydown", (event) => {
    const items = [...panel.querySelectorAll(selector)].filter((item) => !item.hidden);
    const at = items.indexOf(document.activeElement);
    const target = { ArrowDown: at + 1, ArrowUp: at < 0 ? items.length - 1 : at - 1, Home: 0, End: items.length - 1 }[event.key];
    if (target === undefined || items.length === 0) return;
    event.preventDefault();
    items[(target + items.length) % items.length].focus();
  });
}

/** A menu of actions `[{label, action, note}]`; an item without an action is a heading. */
export function actionMenu(anchor, label, items) {
  const panel = h("div", { class: "menu", role: "menu", "aria-label": label }, items.map((item) => (item.action
    ? h("button", { class: "menu-item", type: "button", role: "menuitem", tabindex: -1, "data-menu-item": item.label, onclick: () => { panel.hidePopover(); item.action(); } }, h("span", {}, item.label), item.note && h("small", {}, item.note))
    : h("div", { class: "menu-heading", role: "presentation" }, item.label))));
  roveFocus(panel, ".menu-item");
  float(anchor, panel, () => anchor instanceof Element && anchor.focus());
  panel.querySelector(".menu-item")?.focus();
}

/**
 * Let the reader choose between `min` and `max` of `options` (`{value, label, description, emoji}`).
 * Resolves to the chosen values, or to null when nothing was changed or too few were chosen.
 */
export function chooseFrom(anchor, { label, options, chosen = [], min = 1, max = 1 }) {
  return new Promise((resolve) => {
    const picked = new Set(chosen);
    let confirmed = false;
    const multiple = max > 1;
    const rows = options.map((option) => h(
      "div",
      { class: "select-option", role: "option", tabindex: -1, "data-value": option.value, "data-label": option.label, "aria-selected": String(picked.has(option.value)) },
      emojiOf(option.emoji),
      h("span", { class: "select-option-text" }, h("span", {}, option.label), option.description && h("small", {}, option.description)),
      h("span", { class: "select-check" }, icon("check", 18)),
    ));
    const filter = options.length >= FILTER_FROM && h("input", { class: "field", type: "search", placeholder: "Search", "aria-label": `Search ${label}` });
    const done = multiple && h("button", { class: "button button-primary", type: "button", onclick: () => panel.hidePopover() }, "Done");
    const panel = h(
      "div", { class: "menu select-list", "data-select-list": label }, filter,
      h("div", { class: "select-options", role: "listbox", "aria-label": label, "aria-multiselectable": multiple ? "true" : null }, rows.length ? rows : h("div", { class: "menu-heading" }, "Nothing to choose from")),
      done,
    );
    const toggle = (row) => {
      const { value } = row.dataset;
      if (picked.has(value)) { if (multiple || min === 0) picked.delete(value); }
      else if (multiple && picked.size >= max) return;
      else { if (!multiple) picked.clear(); picked.add(value); }
      confirmed = true;
      for (const each of rows) each.setAttribute("aria-selected", String(picked.has(each.dataset.value)));
      if (!multiple) panel.hidePopover();
    };
    panel.addEventListener("click", (event) => { const row = event.target.closest("[role=option]"); if (row) toggle(row); });
    panel.addEventListener("keydown", (event) => {
      const row = event.target.closest("[role=option]");
      if (row && (event.key === "Enter" || event.key === " ")) { event.preventDefault(); toggle(row); }
    });
    if (filter) filter.addEventListener("input", () => {
      const wanted = filter.value.toLowerCase();
      for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
    });
    roveFocus(panel, "[role=option]");
    float(anchor, panel, () => {
      anchor.focus();
      const fits = picked.size >= min && picked.size <= max;
      resolve(confirmed && fits ? options.map((option) => option.value).filter((value) => picked.has(value)) : null);
    });
    (filter || rows.find((row) => picked.has(row.dataset.value)) || rows[0])?.focus();
  });
}
