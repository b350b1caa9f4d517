/** A modal of the bot as a dialog. It stays open, with everything written in it, until the bot has acknowledged it. */
import { fill, h } from "./dom.js";
import { modalField } from "./modal_fields.js";

let open = null;

/**
 * Show `modal` (`{custom_id, title, components}`).
 * `host` is `{directory, upload(file), submit(components)}`; `submit` resolves to null, or to the sentence to show.
 */
export function openModal(modal, host) {
  open?.close();
  const fields = modal.components.map((raw) => modalField(raw, host));
  const problem = h("div", { class: "modal-problem", role: "alert", hidden: true });
  const submit = h("button", { class: "button button-primary", type: "submit", "data-modal-submit": true }, "Submit");
  const cancel = h("button", { class: "button button-secondary", type: "button", onclick: () => dialog.close() }, "Cancel");
  const form = h(
    "form", { class: "modal-form", novalidate: true, method: "dialog" },
    h("h2", { id: "modal-title" }, modal.title),
    h("p", { class: "modal-note" }, `This form goes to ${host.directory.bot.name}. Do not share passwords or other sensitive information.`),
    h("div", { class: "modal-fields" }, fields.map((field) => field.node)),
    problem,
    h("div", { class: "modal-actions" }, cancel, submit),
  );
  const dialog = h("dialog", { class: "modal", "data-modal": modal.custom_id, "aria-labelledby": "modal-title" }, form);
  open = dialog;

  const say = (sentence) => {
    problem.textContent = sentence ?? "";
    problem.hidden = !sentence;
  };
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (submit.disabled) return;
    submit.disabled = true;
    fill(submit, "Sending…");
    const results = await Promise.all(fields.map((field) => field.read()));
    results.forEach((result, index) => fields[index].mark(result.problem ?? null));
    const bad = results.findIndex((result) => result.problem);
    if (bad >= 0) fields[bad].focus();
    else {
      say(null);
      const refusal = await host.submit(results.map((result) => result.raw));
      if (refusal === null) dialog.close();
      say(refusal);
    }
    submit.disabled = false;
    fill(submit, "Submit");
  });
  dialog.addEventListener("close", () => {
    dialog.remove();
    if (open === dialog) open = null;
  });
  document.body.append(dialog);
  dialog.showModal();
  fields.find((field) => field.focus)?.focus();
}
