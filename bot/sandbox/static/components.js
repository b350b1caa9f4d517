/** Message components, legacy rows and Components V2, from Discord's raw JSON to nodes without listeners: the timeline hears clicks. */
import { displayName } from "./directory.js";
import { h, icon, safeUrl } from "./dom.js";
import { fileCard, fileName, gallery, mediaOf, thumbnail } from "./gallery.js";
import { markdown } from "./markdown.js";

const BUTTON_STYLES = { 1: "primary", 2: "secondary", 3: "success", 4: "danger", 5: "link", 6: "premium" };

// Component types, https://docs.discord.com/developers/components/reference
const DRAWN_BY_TYPE = {
  1: actionRow,
  2: button,
  3: select,
  5: select,
  6: select,
  7: select,
  8: select,
  9: section,
  10: (component, context) => h("div", { class: "text-display", "data-component": "text" }, markdown(component.content ?? "", context.directory)),
  11: (component, context) => thumbnail(component, context.message),
  12: (component, context) => gallery(component.items, context.message),
  13: file,
  14: separator,
  17: container,
};

/**
 * Draw one component.
 * `context` is `{message, directory, state}`; `state` is what this reader did to the message: `{pending: Set of custom_id, chosen: Map custom_id → values}`.
 */
function component(raw, context) {
  const draw = DRAWN_BY_TYPE[raw.type];
  return draw ? draw(raw, context) : h("div", { class: "notice", "data-component": "unknown" }, `This page does not know component type ${raw.type}.`);
}

/** Draw siblings. Each is keyed by its type and place among its kind, so that an edit that adds a text leaves the gallery below alone. */
export function components(raws = [], context) {
  const seen = new Map();
  return raws.map((raw) => {
    const place = seen.get(raw.type) ?? 0;
    seen.set(raw.type, place + 1);
    const node = component(raw, context);
    node.dataset.key = `${raw.type}.${place}`;
    return node;
  });
}

/** Every component in a message, however deep, in reading order. */
export function* allComponents(components = []) {
  for (const raw of components) {
    yield raw;
    if (raw.accessory) yield raw.accessory;
    yield* allComponents(raw.components);
  }
}

function actionRow(raw, context) {
  return h("div", { class: "action-row", "data-component": "row", role: "group" }, components(raw.components, context));
}

/** An emoji of a button or option: the character itself, or the name of a custom one. */
export function emojiOf(emoji) {
  return emoji && h("span", { class: "emoji", "aria-hidden": "true" }, emoji.id ? `:${emoji.name}:` : emoji.name);
}

function button(raw, { state }) {
  const style = BUTTON_STYLES[raw.style] ?? "secondary";
  const content = [emojiOf(raw.emoji), raw.label && h("span", { class: "button-label" }, raw.label)];
  const name = raw.label ?? raw.emoji?.name ?? "";
  const shared = { class: `button button-${style}`, "data-component": "button", "data-label": name, "aria-label": raw.label ? null : name };
  if (raw.style === 5) {
    const href = raw.disabled ? null : safeUrl(raw.url, ["http:", "https:", "discord:"]);
    return h("a", { ...shared, href, "aria-disabled": raw.disabled ? "true" : null, target: "_blank", rel: "noopener noreferrer" }, content, icon("open", 16));
  }
  const pending = state.pending.has(raw.custom_id);
  return h(
    "button",
    { ...shared, type: "button", "data-action": "press", "data-custom-id": raw.custom_id, disabled: raw.disabled === true || raw.style === 6, "data-pending": pending, "aria-busy": pending ? "true" : null },
    content,
    pending && dots(),
  );
}

/** Three breathing dots: waiting for the bot. */
export function dots() {
  return h("span", { class: "dots", "aria-hidden": "true" }, h("i"), h("i"), h("i"));
}

/** The choices of any select: those it lists, or the people, roles or channels it may name. */
export function selectOptions(raw, directory) {
  if (raw.type === 3) return raw.options ?? [];
  const chosen = new Set((raw.default_values ?? []).map((entry) => String(entry.id)));
  const people = [...directory.members, directory.bot].map((member) => ({ value: member.id, label: displayName(member), description: member.bot ? "App" : member.title ?? member.role, default: chosen.has(member.id) }));
  const roles = directory.roles.map((role) => ({ value: role.id, label: role.name, description: "Role", default: chosen.has(role.id) }));
  const fits = (channel) => !channel.dm && (!raw.channel_types?.length || raw.channel_types.includes(channel.type));
  const channels = directory.channels.filter(fits).map((channel) => ({ value: channel.id, label: `#${channel.name}`, description: channel.topic, default: chosen.has(channel.id) }));
  return { 5: people, 6: roles, 7: [...people, ...roles], 8: channels }[raw.type];
}

const SELECT_PLACEHOLDERS = { 5: "Choose a member", 6: "Choose a role", 7: "Choose a member or role", 8: "Choose a channel" };

function select(raw, { directory, state }) {
  const chosen = state.chosen.get(raw.custom_id);
  const options = selectOptions(raw, directory).filter((option) => (chosen ? chosen.includes(option.value) : option.default));
  const pending = state.pending.has(raw.custom_id);
  const placeholder = raw.placeholder ?? SELECT_PLACEHOLDERS[raw.type] ?? "Make a selection";
  return selectTrigger({
    custom_id: raw.custom_id, placeholder, options, pending, disabled: raw.disabled === true,
    attributes: { "data-action": "select" },
  });
}

/** The closed face of a select, shared with modals. `options` are the chosen ones. */
export function selectTrigger({ custom_id, placeholder, options, pending = false, disabled = false, attributes = {} }) {
  const content = options.length
    ? options.map((option) => h("span", { class: "select-choice" }, emojiOf(option.emoji), option.label))
    : h("span", { class: "select-placeholder" }, placeholder);
  return h(
    "button",
    {
      class: "select", type: "button", "data-component": "select", "data-custom-id": custom_id, "data-label": placeholder, "data-pending": pending,
      disabled, "aria-haspopup": "listbox", "aria-label": options.length ? `${placeholder}: ${options.map((option) => option.label).join(", ")}` : placeholder, ...attributes,
    },
    h("span", { class: "select-choices" }, content),
    pending ? dots() : icon("down", 18),
  );
}

function section(raw, context) {
  return h(
    "div",
    { class: "section", "data-component": "section" },
    h("div", { class: "section-text" }, components(raw.components, context)),
    raw.accessory && h("div", { class: "section-accessory" }, component(raw.accessory, context)),
  );
}

function file(raw, { message }) {
  const media = mediaOf(raw.file, message);
  return fileCard({ url: media.url, name: raw.name ?? media.filename ?? fileName(media.url), size: raw.size ?? media.size, spoiler: raw.spoiler === true });
}

function separator(raw) {
  return h("div", { class: "separator", "data-component": "separator", "data-divider": raw.divider !== false, "data-spacing": raw.spacing ?? 1, role: raw.divider === false ? "presentation" : "separator" });
}

function container(raw, context) {
  const accent = Number.isInteger(raw.accent_color) ? `#${raw.accent_color.toString(16).padStart(6, "0")}` : null;
  return h(
    "div",
    { class: "container", "data-component": "container", "data-spoiler": raw.spoiler === true, "data-accented": accent !== null, style: accent ? { "--accent": accent } : {} },
    raw.spoiler && h("button", { class: "container-cover", type: "button", "data-action": "reveal-container", "aria-label": "Spoiler, press to show" }, h("span", { class: "spoiler-badge" }, "Spoiler")),
    components(raw.components, context),
  );
}
