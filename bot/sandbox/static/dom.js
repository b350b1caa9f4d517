/** Build DOM nodes. Text only ever enters the page as a text node, so nothing a member or the bot writes is parsed as HTML. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * Create an element.
 * Props: `class`, `style` (object of CSS properties, `--custom` allowed), `on…` handlers, anything else is an attribute.
 * `false`, `null` and `undefined` leave an attribute out; `true` writes it empty. Children may be nodes, text or nested arrays.
 */
export function h(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === false || value === null || value === undefined) continue;
    if (name === "style") for (const [property, setting] of Object.entries(value)) node.style.setProperty(property, setting);
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  append(node, children);
  return node;
}

function append(node, children) {
  for (const child of children) {
    if (child === false || child === null || child === undefined) continue;
    if (Array.isArray(child)) append(node, child);
    else node.append(child);
  }
}

/** Replace everything inside `node`. */
export function fill(node, ...children) {
  node.replaceChildren();
  append(node, children);
}

// Stroked 24 × 24 line drawings.
const ICONS = {
  hash: "M9 4 7 20 M17 4l-2 16 M4.5 9h16 M3.5 15h16",
  at: "M16 12a4 4 0 1 1-8 0 4 4 0 0 1 8 0Zm0 0v1.5a2.5 2.5 0 0 0 5 0V12a9 9 0 1 0-3.6 7.2",
  menu: "M4 6h16 M4 12h16 M4 18h16",
  close: "M6 6l12 12 M18 6 6 18",
  plus: "M12 5v14 M5 12h14",
  send: "M4 12 20 4l-5 16-3.5-6.5L4 12Z",
  left: "M15 5l-7 7 7 7",
  right: "M9 5l7 7-7 7",
  down: "M6 9l6 6 6-6",
  download: "M12 4v11 M7 11l5 5 5-5 M5 20h14",
  open: "M14 4h6v6 M20 4l-9 9 M18 14v6H4V6h6",
  file: "M6 3h8l5 5v13H6V3Zm8 0v5h5",
  more: "M5 12h.01 M12 12h.01 M19 12h.01",
  eye: "M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12Z M15 12a3 3 0 1 1-6 0 3 3 0 0 1 6 0Z",
  check: "M5 12.5l4.5 4.5L19 7.5",
  bolt: "M13 3 5 13.5h6L10 21l9-11.5h-6L13 3Z",
  picture: "M4 5h16v14H4V5Zm0 11 4.5-4.5L13 16l3-3 4 4 M15.5 9h.01",
  shield: "M12 3l7 3v5.5c0 4.5-3 7.7-7 9.5-4-1.8-7-5-7-9.5V6l7-3Z",
};

/** One of the line drawings above, hidden from assistive technology: the control around it carries the name. */
export function icon(name, size = 20) {
  const drawing = document.createElementNS(SVG, "svg");
  for (const [key, value] of Object.entries({
    viewBox: "0 0 24 24", width: size, height: size, fill: "none", stroke: "currentColor", class: `icon icon-${name}`,
    "stroke-width": name === "more" ? 3 : 2, "stroke-linecap": "round", "stroke-linejoin": "round", "aria-hidden": "true",
  })) drawing.setAttribute(key, value);
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  drawing.append(path);
  return drawing;
}

/** "1.4 MB" from a count of bytes. */
export function fileSize(bytes) {
  if (!Number.isFinite(bytes)) return "";
  const units = ["bytes", "KB", "MB", "GB"];
  let step = 0;
  while (bytes >= 1024 && step < units.length - 1) { bytes /= 1024; step += 1; }
  return `${step === 0 ? bytes : bytes.toFixed(bytes < 10 ? 1 : 0)} ${units[step]}`;
}

/** Only addresses that a browser shows or opens without running anything; otherwise null. */
export function safeUrl(address, schemes = ["http:", "https:"]) {
  try {
    const url = new URL(address, location.href);
    return schemes.includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}
