/** Pictures at full size: left, right, Escape, download. */
import { h, icon } from "./dom.js";

/** Open `pictures` (`[{url, name, description}]`) at `start`; focus returns to where it was when the dialog closes. */
export function openLightbox(pictures, start) {
  let shown = start;
  const image = h("img", { class: "lightbox-picture", "data-lightbox-picture": true });
  const caption = h("div", { class: "lightbox-caption", "aria-live": "polite" });
  const download = h("a", { class: "icon-button", "data-lightbox-download": true, "aria-label": "Download", title: "Download" }, icon("download"));
  const original = h("a", { class: "icon-button", target: "_blank", rel: "noopener", "aria-label": "Open in a new tab", title: "Open in a new tab" }, icon("open"));
  const show = (index) => {
    shown = (index + pictures.length) % pictures.length;
    const { url, name, description } = pictures[shown];
    image.src = url;
    image.alt = description || name;
    download.href = url;
    download.download = name;
    original.href = url;
    caption.textContent = [pictures.length > 1 && `${shown + 1} of ${pictures.length}`, description || name].filter(Boolean).join(" · ");
  };
  const turn = (label, by) => pictures.length > 1 && h("button", { class: `icon-button lightbox-turn lightbox-${label.toLowerCase()}`, type: "button", "aria-label": label, onclick: () => show(shown + by) }, icon(by < 0 ? "left" : "right", 28));
  const dialog = h(
    "dialog", { class: "lightbox", "data-lightbox": true, "aria-label": "Picture" },
    h("div", { class: "lightbox-bar" }, caption, original, download, h("button", { class: "icon-button", type: "button", "aria-label": "Close", onclick: () => dialog.close() }, icon("close"))),
    h("div", { class: "lightbox-stage" }, turn("Previous", -1), image, turn("Next", 1)),
  );
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") show(shown - 1);
    if (event.key === "ArrowRight") show(shown + 1);
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog || event.target.matches(".lightbox-stage")) dialog.close();
  });
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  show(start);
  dialog.showModal();
}
