/**
 * Bring a rendered tree up to date in place. A message that is edited ten times a second keeps its nodes: pictures are not
 * loaded again, focus and scroll position stay, and only what differs changes.
 */

// State that belongs to the reader, not to the message: an edit leaves it alone.
const STICKY = new Set(["data-revealed"]);

/** Make `current` look like `wanted`. Returns the node that is in the document afterwards. */
export function patch(current, wanted) {
  if (!sameKind(current, wanted)) {
    current.replaceWith(wanted);
    return wanted;
  }
  if (current.nodeType === Node.TEXT_NODE) {
    if (current.data !== wanted.data) current.data = wanted.data;
    return current;
  }
  if (current.nodeName === "IMG" && pictureOf(current) !== pictureOf(wanted)) exchangePicture(current, wanted);
  else patchAttributes(current, wanted);
  patchChildren(current, wanted);
  return current;
}

function sameKind(one, other) {
  return one.nodeName === other.nodeName && keyOf(one) === keyOf(other);
}

function keyOf(node) {
  return node.nodeType === Node.ELEMENT_NODE ? node.getAttribute("data-key") : null;
}

/** A CDN address without its signature, which changes while the file stays the same. */
function pictureOf(image) {
  return (image.dataset.next ?? image.getAttribute("src") ?? "").split("?")[0];
}

/** Load the new picture out of sight and swap when it can be painted, so that the old one never blinks away. */
function exchangePicture(image, wanted) {
  const source = wanted.getAttribute("src");
  const loader = new Image();
  image.dataset.next = source;
  loader.src = source;
  loader.decode().catch(() => {}).then(() => {
    if (image.dataset.next !== source) return;
    delete image.dataset.next;
    patchAttributes(image, wanted, true);
  });
}

function patchAttributes(current, wanted, withSource = false) {
  const keepsSource = current.nodeName === "IMG" && !withSource;
  for (const { name } of [...current.attributes]) {
    if (!wanted.hasAttribute(name) && !STICKY.has(name) && name !== "style" && name !== "data-next") current.removeAttribute(name);
  }
  for (const { name, value } of [...wanted.attributes]) {
    if (name === "style" || (name === "src" && keepsSource)) continue;
    if (name === "aria-label" && current.hasAttribute("data-revealed")) continue;
    if (current.getAttribute(name) !== value) current.setAttribute(name, value);
  }
  // Through the CSSOM: the page's content security policy refuses style attributes.
  if (current.style.cssText !== wanted.style.cssText) current.style.cssText = wanted.style.cssText;
}

/** Reconcile children: those with `data-key` find each other anywhere, the others pair up by position and kind. */
export function patchChildren(current, wanted) {
  const keyed = new Map();
  for (const child of current.childNodes) if (keyOf(child) !== null) keyed.set(keyOf(child), child);
  let place = current.firstChild;
  for (const next of [...wanted.childNodes]) {
    const key = keyOf(next);
    let match = key !== null ? keyed.get(key) : place;
    if (match && (key === null ? keyOf(match) !== null || !sameKind(match, next) : !sameKind(match, next))) match = null;
    if (!match) {
      current.insertBefore(next, place);
      continue;
    }
    if (match === place) place = place.nextSibling;
    else current.insertBefore(match, place);
    patch(match, next);
  }
  while (place) {
    const rest = place.nextSibling;
    place.remove();
    place = rest;
  }
}
