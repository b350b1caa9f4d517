/** One option of a command in the composer: its name and a field of its type. */
import { ATTACHMENT } from "./command_line.js";
import { fileSize, h, icon } from "./dom.js";
import { exactChoice, fixedChoices, readOption } from "./option_value.js";

export class OptionPill {
  // The choice whose name is in the field, and what the bot suggested last.
  picked = null;
  suggested = [];

  /** `on` hears `{input, focus, blur, key, remove}` with this pill as first argument; `upload(file)` resolves to the stored upload. */
  constructor(option, directory, on, upload) {
    Object.assign(this, { option, directory, on, upload });
    this.field = option.type === ATTACHMENT ? this.#fileField() : this.#textField();
    this.node = h(
      "span", { class: "pill", "data-option": option.name, "data-required": option.required === true, "data-type": option.type },
      h("span", { class: "pill-name", onclick: () => this.focus() }, option.name),
      option.type === ATTACHMENT ? this.holder : h("span", { class: "pill-value" }, this.field),
      !option.required && h("button", { class: "pill-remove", type: "button", tabindex: -1, "aria-label": `Remove ${option.name}`, title: `Remove ${option.name}`, onclick: () => on.remove(this) }, icon("close", 14)),
    );
  }

  #textField() {
    const field = h("textarea", {
      class: "pill-field", rows: 1, cols: 1, "data-option-field": this.option.name, role: "combobox", "aria-label": `${this.option.name}: ${this.option.description}`,
      "aria-autocomplete": "list", "aria-expanded": "false", "aria-required": String(this.option.required === true), autocomplete: "off", spellcheck: "false", enterkeyhint: "send",
    });
    field.addEventListener("input", () => { this.picked = null; this.#grow(); this.setProblem(null); this.on.input(this); });
    field.addEventListener("focus", () => this.on.focus(this));
    field.addEventListener("blur", () => { this.#settle(); this.on.blur(this); });
    field.addEventListener("keydown", (event) => this.on.key(this, event));
    return field;
  }

  #fileField() {
    const input = h("input", { type: "file", class: "visually-hidden", tabindex: -1, "data-option-file": this.option.name, "aria-hidden": "true", onchange: () => { if (input.files[0]) this.attach(input.files[0]); input.value = ""; } });
    const button = h("button", { class: "pill-file", type: "button", "data-option-field": this.option.name, "aria-label": `${this.option.name}: choose a file`, onclick: () => input.click() }, icon("picture", 16), "Choose, drop or paste a file");
    button.addEventListener("focus", () => this.on.focus(this));
    button.addEventListener("keydown", (event) => { if (event.key !== "Enter" && event.key !== " ") this.on.key(this, event); });
    this.holder = h("span", { class: "pill-value" }, button, input);
    return button;
  }

  get text() {
    return this.option.type === ATTACHMENT ? "" : this.field.value;
  }

  /** Put text into the field, as if typed. */
  setText(text, picked = null) {
    this.field.value = text;
    this.picked = picked;
    this.setProblem(null);
    this.#grow();
  }

  get isEmpty() {
    return this.option.type === ATTACHMENT ? !this.file : this.text.trim() === "";
  }

  focus(atEnd = true) {
    this.field.focus();
    if (this.field.setSelectionRange) this.field.setSelectionRange(...(atEnd ? [this.text.length, this.text.length] : [0, 0]));
  }

  /** Take a file: the upload starts now, so that sending need not wait for it. */
  attach(file) {
    this.file = file;
    this.setProblem(null);
    const preview = /^image\/(png|jpeg|webp|gif|avif)$/.test(file.type) ? h("img", { class: "pill-preview", alt: "", src: URL.createObjectURL(file), onload: (event) => URL.revokeObjectURL(event.target.src) }) : icon("file", 16);
    const size = h("small", {}, "uploading…");
    this.field.replaceChildren(preview, h("span", { class: "pill-file-name" }, file.name), size);
    this.field.setAttribute("aria-label", `${this.option.name}: ${file.name}`);
    const uploaded = this.upload(file).then((stored) => ({ value: stored.id }), (error) => ({ problem: error.message }));
    this.uploaded = uploaded;
    uploaded.then((result) => {
      if (this.uploaded !== uploaded) return;
      size.textContent = result.problem ? "failed" : fileSize(file.size);
      if (result.problem) this.setProblem(result.problem);
    });
    this.on.input(this);
  }

  /** The option as the interaction carries it: `{value}`, `{problem}`, or `{}` when it was left out. */
  async read() {
    if (this.isEmpty) return this.option.required ? { problem: this.option.type === ATTACHMENT ? `${this.option.name} needs a file.` : `${this.option.name} is required.` } : {};
    if (this.option.type === ATTACHMENT) return this.uploaded;
    if (this.picked) return { value: this.picked.value };
    return readOption(this.option, this.text, this.directory);
  }

  /** Show or clear the mark of a value that does not fit. */
  setProblem(sentence) {
    this.node?.toggleAttribute("data-invalid", Boolean(sentence));
    this.field.setAttribute("aria-invalid", String(Boolean(sentence)));
    if (this.node) this.node.title = sentence ?? "";
  }

  /** Leaving the field: "16:9" typed becomes the choice of that name, in its own spelling. */
  #settle() {
    if (this.picked || this.isEmpty || !fixedChoices(this.option, this.directory)) return;
    const choice = exactChoice(this.option, this.text, this.directory);
    if (choice) this.setText(choice.name, choice);
    else this.setProblem(readOption(this.option, this.text, this.directory).problem);
  }

  #grow() {
    this.field.parentElement.dataset.text = this.field.value;
  }
}
