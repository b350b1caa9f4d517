/** Embeds, the older kind of card. */
import { h, safeUrl } from "./dom.js";
import { gallery, thumbnail } from "./gallery.js";
import { inline, markdown } from "./markdown.js";
import { posted } from "./timestamps.js";

/** Draw one embed of `message`. */
export function embed(raw, message, directory) {
  const accent = Number.isInteger(raw.color) ? `#${raw.color.toString(16).padStart(6, "0")}` : null;
  const text = [
    raw.author && h("div", { class: "embed-author" }, linked(raw.author.url, [raw.author.name])),
    raw.title && h("div", { class: "embed-title" }, linked(raw.url, inline(raw.title, directory))),
    raw.description && h("div", { class: "embed-description" }, markdown(raw.description, directory)),
    raw.fields?.length > 0 && h("div", { class: "embed-fields" }, raw.fields.map((field) => h(
      "div", { class: "embed-field", "data-inline": field.inline === true },
      h("div", { class: "embed-field-name" }, inline(field.name, directory)), markdown(field.value, directory),
    ))),
  ];
  const footer = [raw.footer?.text, raw.timestamp && posted(raw.timestamp)].filter(Boolean).join(" • ");
  return h(
    "div",
    { class: "embed", "data-component": "embed", style: accent ? { "--accent": accent } : {} },
    h("div", { class: "section" }, h("div", { class: "section-text" }, text), raw.thumbnail && h("div", { class: "section-accessory" }, thumbnail({ media: raw.thumbnail }, message))),
    raw.image && gallery([{ media: raw.image }], message),
    footer && h("div", { class: "embed-footer" }, footer),
  );
}

function linked(address, children) {
  const href = address && safeUrl(address);
  return href ? h("a", { class: "md-link", href, target: "_blank", rel: "noopener noreferrer" }, children) : children;
}
