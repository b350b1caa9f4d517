/** Pictures in messages: galleries in Discord's layouts, thumbnails, and other files. */
import { fileSize, h, icon, safeUrl } from "./dom.js";

const MOST_WIDE = 550;
const MOST_HIGH = 420;
const LEAST_WIDE = 260;
const FOUR_HIGH = 500;
const VIDEO = /\.(mp4|webm|mov)$/i;
const PICTURE = /\.(png|jpe?g|webp|gif|avif)$/i;

/** The last part of an address, without its signature. */
export function fileName(address) {
  const path = (address ?? "").split(/[?#]/)[0];
  try {
    return decodeURIComponent(path.split("/").at(-1));
  } catch {
    return path.split("/").at(-1);
  }
}

/** Resolve `attachment://name` against the message it belongs to; a resolved media item passes through. */
export function mediaOf(media, message) {
  const name = /^attachment:\/\/(.+)$/.exec(media?.url ?? "")?.[1];
  return name ? (message.attachments ?? []).find((file) => file.filename === name) ?? media : media ?? {};
}

/** Whether an attachment is drawn as a picture or played as a video, rather than listed as a file. */
export function isVisual(file) {
  const kind = file.content_type ?? "";
  return /^(image|video)\//.test(kind) ? !kind.includes("svg") : PICTURE.test(fileName(file.url)) || VIDEO.test(fileName(file.url));
}

function isVideo(media) {
  return media.content_type ? media.content_type.startsWith("video/") : VIDEO.test(fileName(media.url));
}

/**
 * A gallery of 1–10 items `{media, description, spoiler}`. One picture keeps its own shape; several share a grid whose
 * cells have the first picture's shape, so that pictures of one size are never cropped in twos and fours.
 */
export function gallery(items, message) {
  const visible = items.map((item) => ({ ...item, media: mediaOf(item.media, message) }));
  const [{ media: first }] = visible;
  const ratio = first.width && first.height ? first.width / first.height : 1;
  const cell = visible.length === 1 ? ratio : Math.min(Math.max(ratio, 0.75), 1.78);
  const style = { "--ratio": String(cell) };
  // Two by two has the shape of one: tall pictures get a narrower grid, so that a card fits on a screen.
  if (visible.length === 4) style["--width"] = `${Math.round(Math.min(MOST_WIDE, FOUR_HIGH * cell))}px`;
  if (visible.length === 1) style["--width"] = `${Math.round(Math.min(Math.max(first.width || MOST_WIDE, LEAST_WIDE), MOST_WIDE, MOST_HIGH * ratio))}px`;
  return h(
    "div",
    { class: "gallery", "data-component": "gallery", "data-count": visible.length, style, role: "group", "aria-label": visible.length === 1 ? "Picture" : `${visible.length} pictures` },
    visible.map((item, index) => galleryItem(item, index, visible.length)),
  );
}

function galleryItem({ media, description, spoiler }, index, count) {
  const address = safeUrl(media.url);
  const label = description || fileName(media.url) || "picture";
  const content = isVideo(media)
    ? h("video", { class: "gallery-picture", src: address, controls: !spoiler, preload: "metadata" })
    : picture(media, description);
  const attributes = {
    class: "gallery-item", "data-gallery-item": index, "data-url": address, "data-name": fileName(media.url),
    "data-description": description, "data-spoiler": spoiler === true,
  };
  if (isVideo(media) && !spoiler) return h("div", attributes, content);
  return h(
    "button",
    { ...attributes, type: "button", "data-action": "picture", "aria-label": spoiler ? "Spoiler, press to show" : `${label}${count > 1 ? ` (${index + 1} of ${count})` : ""}, press to enlarge` },
    content,
    spoiler && h("span", { class: "spoiler-badge" }, "Spoiler"),
  );
}

function picture(media, description) {
  return h("img", {
    class: "gallery-picture", src: safeUrl(media.url), alt: description || fileName(media.url),
    width: media.width || null, height: media.height || null, decoding: "async", draggable: "false",
  });
}

/** The small picture beside a section's text. */
export function thumbnail(component, message) {
  const media = mediaOf(component.media, message);
  const item = galleryItem({ ...component, media }, 0, 1);
  item.classList.add("thumbnail");
  item.setAttribute("data-component", "thumbnail");
  return item;
}

/** A file that is not drawn: name, size and a download link. */
export function fileCard({ url, name, size, spoiler = false }) {
  const label = name || fileName(url);
  return h(
    "div",
    { class: "file-card", "data-component": "file", "data-name": label, "data-spoiler": spoiler },
    spoiler && h("button", { class: "file-cover", type: "button", "data-action": "reveal-file", "aria-label": "Spoiler, press to show" }, h("span", { class: "spoiler-badge" }, "Spoiler")),
    icon("file", 28),
    h(
      "div",
      { class: "file-text" },
      h("a", { class: "md-link", href: safeUrl(url), download: label, target: "_blank", rel: "noopener" }, label),
      h("div", { class: "file-size" }, fileSize(size)),
    ),
    h("a", { class: "icon-button", href: safeUrl(url), download: label, target: "_blank", rel: "noopener", "aria-label": `Download ${label}`, title: "Download" }, icon("download")),
  );
}
