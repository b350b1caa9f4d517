/** The fields of a modal. Each is `{node, read(), mark(problem), focus()}`; `read` resolves to `{raw}` as Discord submits it, or `{problem}`. */
import { emojiOf, selectOptions, selectTrigger } from "./components.js";
import { fileSize, h, icon } from "./dom.js";
import { markdown } from "./markdown.js";
import { chooseFrom } from "./popover.js";

// Component types, https://docs.discord.com/developers/components/reference
const ROW = 1;
const TEXT_INPUT = 4;
const TEXT = 10;
const LABEL = 18;
const FILE_UPLOAD = 19;
const RADIO_GROUP = 21;
const CHECKBOX_GROUP = 22;
const CHECKBOX = 23;
const LONGEST_TEXT = 4000;
const PARAGRAPH = 2;

let fieldCount = 0;

/** One top-level component of a modal. */
export function modalField(raw, host) {
  if (raw.type === TEXT) return { node: h("div", { class: "modal-text" }, markdown(raw.content, host.directory)), read: async () => ({ raw: { type: TEXT, id: raw.id } }), mark() {} };
  const inner = raw.type === ROW ? raw.components[0] : raw.type === LABEL ? raw.component : raw;
  fieldCount += 1;
  const id = `modal-field-${fieldCount}`;
  const control = controlFor(inner, id, host);
  const label = raw.label ?? inner.label ?? "";
  const required = inner.required !== false && inner.type !== CHECKBOX;
  const problem = h("div", { class: "field-problem", role: "alert", hidden: true, id: `${id}-problem` });
  const node = h(
    "div", { class: "modal-field", "data-field": inner.custom_id, "data-label": label },
    h("label", { class: "field-label", for: id }, label, required && h("span", { class: "required", title: "Required" }, " *")),
    raw.description && h("div", { class: "field-description" }, raw.description),
    control.node, problem,
  );
  const mark = (sentence) => {
    problem.textContent = sentence ?? "";
    problem.hidden = !sentence;
    node.toggleAttribute("data-invalid", Boolean(sentence));
  };
  node.addEventListener("input", () => mark(null));
  return {
    node,
    mark,
    focus: () => control.focus(),
    read: async () => {
      const { problem: sentence, ...answer } = await control.read();
      if (sentence) return { problem: sentence };
      const submitted = { type: inner.type, custom_id: inner.custom_id, ...(inner.id !== undefined && { id: inner.id }), ...answer };
      if (raw.type === ROW) return { raw: { type: ROW, components: [submitted] } };
      return { raw: raw.type === LABEL ? { type: LABEL, ...(raw.id !== undefined && { id: raw.id }), component: submitted } : submitted };
    },
  };
}

function controlFor(raw, id, host) {
  if (raw.type === TEXT_INPUT) return textInput(raw, id);
  if ([3, 5, 6, 7, 8].includes(raw.type)) return select(raw, id, host);
  if (raw.type === FILE_UPLOAD) return fileUpload(raw, id, host);
  if (raw.type === RADIO_GROUP || raw.type === CHECKBOX_GROUP) return group(raw, id);
  if (raw.type === CHECKBOX) return checkbox(raw, id);
  return { node: h("div", { class: "notice" }, `This page does not know component type ${raw.type}.`), focus() {}, read: async () => ({}) };
}

function textInput(raw, id) {
  const most = raw.max_length ?? LONGEST_TEXT;
  const attributes = { class: "field", id, placeholder: raw.placeholder, "data-custom-id": raw.custom_id, "aria-describedby": `${id}-problem`, autocomplete: "off" };
  const field = raw.style === PARAGRAPH ? h("textarea", { ...attributes, rows: 4 }) : h("input", { ...attributes, type: "text" });
  field.value = raw.value ?? "";
  const counter = h("span", { class: "field-count", "aria-hidden": "true" });
  const count = () => {
    counter.textContent = raw.max_length || field.value.length > most * 0.9 ? `${field.value.length} / ${most}` : "";
    counter.toggleAttribute("data-over", field.value.length > most);
  };
  field.addEventListener("input", count);
  count();
  return {
    node: h("div", { class: "field-holder" }, field, counter),
    focus: () => field.focus(),
    read: async () => {
      const { value } = field;
      if (raw.required !== false && value.trim() === "") return { problem: "This field is required." };
      if (value && value.length < (raw.min_length ?? 0)) return { problem: `At least ${raw.min_length} characters, please.` };
      if (value.length > most) return { problem: `At most ${most} characters, please; this has ${value.length}.` };
      return { value };
    },
  };
}

function select(raw, id, { directory }) {
  const options = selectOptions(raw, directory);
  let chosen = options.filter((option) => option.default).map((option) => option.value);
  const min = raw.min_values ?? (raw.required === false ? 0 : 1);
  const max = raw.max_values ?? 1;
  const holder = h("div", { class: "field-holder" });
  const draw = () => {
    const trigger = selectTrigger({ custom_id: raw.custom_id, placeholder: raw.placeholder ?? "Make a selection", options: options.filter((option) => chosen.includes(option.value)), attributes: { id } });
    trigger.addEventListener("click", async () => {
      const values = await chooseFrom(trigger, { label: raw.placeholder ?? "Selection", options, chosen, min, max });
      if (values === null) return;
      chosen = values;
      draw().focus();
      holder.dispatchEvent(new Event("input", { bubbles: true }));
    });
    holder.replaceChildren(trigger);
    return trigger;
  };
  draw();
  return {
    node: holder,
    focus: () => holder.firstChild.focus(),
    read: async () => (chosen.length === 0 && raw.required === false ? { values: [] } : chosen.length < min ? { problem: min === 1 ? "Please choose." : `Please choose at least ${min}.` } : { values: chosen }),
  };
}

function fileUpload(raw, id, { upload }) {
  const most = raw.max_values ?? 1;
  const files = [];
  const rows = h("ul", { class: "upload-list" });
  const input = h("input", { type: "file", id, class: "visually-hidden", multiple: most > 1, "data-custom-id": raw.custom_id });
  const button = h("button", { class: "upload-drop", type: "button", onclick: () => input.click() }, icon("picture"), most > 1 ? `Choose or drop up to ${most} files` : "Choose or drop a file");
  const take = (chosen) => {
    for (const file of chosen) {
      if (files.length >= most) { if (most > 1) break; files.length = 0; rows.replaceChildren(); }
      const size = h("small", {}, "uploading…");
      const entry = { uploaded: upload(file).then((stored) => ({ id: stored.id }), (error) => ({ problem: error.message })) };
      const row = h("li", {}, icon("file", 18), h("span", {}, file.name), size, h("button", {
        class: "icon-button", type: "button", "aria-label": `Remove ${file.name}`, onclick: () => { files.splice(files.indexOf(entry), 1); row.remove(); button.focus(); },
      }, icon("close", 16)));
      entry.uploaded.then(({ problem }) => { size.textContent = problem ?? fileSize(file.size); });
      files.push(entry);
      rows.append(row);
    }
    holder.dispatchEvent(new Event("input", { bubbles: true }));
  };
  input.addEventListener("change", () => { take(input.files); input.value = ""; });
  const holder = h("div", { class: "field-holder" }, button, input, rows);
  holder.addEventListener("dragover", (event) => event.preventDefault());
  holder.addEventListener("drop", (event) => { event.preventDefault(); event.stopPropagation(); take(event.dataTransfer.files); });
  return {
    node: holder,
    focus: () => button.focus(),
    read: async () => {
      const results = await Promise.all(files.map((entry) => entry.uploaded));
      const failed = results.find((result) => result.problem);
      if (failed) return failed;
      const least = raw.required === false && !files.length ? 0 : raw.min_values ?? 1;
      return files.length < least ? { problem: least === 1 ? "Please choose a file." : `Please choose at least ${least} files.` } : { values: results.map((result) => result.id) };
    },
  };
}

function group(raw, id) {
  const single = raw.type === RADIO_GROUP;
  const inputs = (raw.options ?? []).map((option, index) => {
    const input = h("input", { type: single ? "radio" : "checkbox", name: id, id: index ? null : id, value: option.value });
    input.checked = option.default === true;
    return [input, option];
  });
  const node = h("div", { class: "choice-group", role: single ? "radiogroup" : "group", "data-custom-id": raw.custom_id }, inputs.map(([input, option]) => h(
    "label", { class: "choice" }, input, emojiOf(option.emoji), h("span", {}, option.label, option.description && h("small", {}, option.description)),
  )));
  return {
    node,
    focus: () => inputs[0]?.[0].focus(),
    read: async () => {
      const values = inputs.filter(([input]) => input.checked).map(([input]) => input.value);
      const optional = raw.required === false;
      if (single) return values.length || optional ? { value: values[0] ?? null } : { problem: "Please choose one." };
      const least = raw.min_values ?? (optional ? 0 : 1);
      const most = raw.max_values ?? inputs.length;
      if (values.length < least && !(optional && values.length === 0)) return { problem: `Please choose at least ${least}.` };
      return values.length > most ? { problem: `Please choose at most ${most}.` } : { values };
    },
  };
}

function checkbox(raw, id) {
  const input = h("input", { type: "checkbox", id, "data-custom-id": raw.custom_id });
  input.checked = raw.default === true;
  return { node: h("div", { class: "choice" }, input), focus: () => input.focus(), read: async () => ({ value: input.checked }) };
}
