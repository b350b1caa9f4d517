/** One message, from Discord's raw JSON to a node. Drawing is pure: the same message and state give the same tree. */
import { colorOf, displayName, initials } from "./directory.js";
import { components, dots } from "./components.js";
import { h, icon } from "./dom.js";
import { embed } from "./embeds.js";
import { fileCard, gallery, isVisual } from "./gallery.js";
import { markdown } from "./markdown.js";
import { posted } from "./timestamps.js";

const EPHEMERAL = 1 << 6;
const LOADING = 1 << 7;
const GROUP_WITHIN_MS = 7 * 60 * 1000;
const EXCERPT_LENGTH = 90;

/** Whether only one member sees this message. */
export function isEphemeral(message) {
  return Boolean(message.ephemeral_for) || ((message.flags ?? 0) & EPHEMERAL) !== 0;
}

function isThinking(message) {
  return message.interaction_state === "thinking" || ((message.flags ?? 0) & LOADING) !== 0;
}

/** The interaction a message answers: `{id, name, user, type}`, the name as members write it (`/imagine`), or null. */
export function interactionOf(message) {
  const metadata = message.interaction_metadata ?? message.interaction;
  if (!metadata) return null;
  const name = metadata.name ?? message.interaction?.name;
  return { id: metadata.id, name: name && `${(metadata.command_type ?? 1) === 1 ? "/" : ""}${name}`, user: metadata.user, type: metadata.type };
}

/** Whether a message continues the one above it, so that author and avatar need not be drawn again. */
export function continues(message, previous) {
  return (
    previous !== null && previous.author.id === message.author.id && !message.message_reference && !message.local &&
    !commandLine(message) && isEphemeral(message) === isEphemeral(previous) &&
    Date.parse(message.timestamp) - Date.parse(previous.timestamp) < GROUP_WITHIN_MS
  );
}

function commandLine(message) {
  const interaction = interactionOf(message);
  return interaction?.name && interaction.type !== 3 ? interaction : null;
}

/** A few words of a message, for reply lines. */
export function excerpt(message, directory) {
  const texts = [message.content];
  const collect = (components) => {
    for (const raw of components ?? []) {
      if (raw.type === 10) texts.push(raw.content);
      collect(raw.components);
    }
  };
  collect(message.components);
  for (const raw of message.embeds ?? []) texts.push(raw.title, raw.description);
  const drawn = h("div", {}, texts.filter(Boolean).map((each) => markdown(each, directory)));
  for (const hidden of drawn.querySelectorAll(".spoiler")) hidden.textContent = "▒▒▒";
  const text = [...drawn.children].map((each) => each.textContent).join(" ").replace(/\s+/g, " ").trim();
  return text.length > EXCERPT_LENGTH ? `${text.slice(0, EXCERPT_LENGTH)}…` : text || "Click to see the message";
}

/**
 * Draw a message.
 * `context` is `{directory, me, state, grouped, original}`: `original` is the message this one answers, or null; `state`
 * holds what this reader did to it (see components.js) and `failed`, a sentence or null.
 */
export function messageNode(message, { directory, me, state, grouped, original = null }) {
  const author = directory.member(message.author.id) ?? message.author;
  const ephemeral = isEphemeral(message);
  const context = { message, directory, state };
  const mentioned = (message.mentions ?? []).some((user) => user.id === me) || (message.content ?? "").includes(`<@${me}>`);
  return h(
    "article",
    {
      class: "message", "data-message-id": message.id, "data-key": message.id, "data-grouped": grouped, "data-ephemeral": ephemeral,
      "data-mentioned": mentioned, "data-local": message.local ?? null, tabindex: -1, "aria-label": `${displayName(author)}, ${posted(message.timestamp)}`,
    },
    aboveLine(message, original, directory),
    h("div", { class: "message-gutter" }, grouped ? h("time", { class: "message-time-short", datetime: message.timestamp }, posted(message.timestamp).split(" ").at(-1)) : avatar(author)),
    h(
      "div",
      { class: "message-body" },
      !grouped && header(message, author),
      body(message, context),
      state.failed && h("div", { class: "failed", role: "alert", "data-interaction-failed": true }, state.failed),
      ephemeral && h(
        "div", { class: "ephemeral-note" }, icon("eye", 16), " Only you can see this · ",
        h("button", { class: "link-button", type: "button", "data-action": "dismiss" }, "Dismiss message"),
      ),
    ),
    !message.local && h("div", { class: "message-tools" }, h("button", { class: "icon-button", type: "button", "data-action": "message-menu", "aria-label": "More", title: "More", "aria-haspopup": "menu" }, icon("more"))),
  );
}

/** A drawn avatar: initials on the person's colour. */
export function avatar(user, size = "") {
  return h("span", { class: `avatar ${size}`.trim(), style: { "--color": colorOf(user) }, "aria-hidden": "true" }, initials(user));
}

function header(message, author) {
  return h(
    "header",
    { class: "message-header" },
    h("span", { class: "author", style: { "--color": colorOf(author) }, "data-user-id": author.id }, displayName(author)),
    (author.bot || message.author.bot) && h("span", { class: "app-badge" }, "APP"),
    author.role === "moderator" && h("span", { class: "role-badge", title: "Moderator" }, icon("shield", 14)),
    h("time", { class: "message-time", datetime: message.timestamp }, posted(message.timestamp)),
    message.edited_timestamp && h("span", { class: "edited", title: posted(message.edited_timestamp) }, "(edited)"),
  );
}

function aboveLine(message, original, directory) {
  if (message.message_reference) return replyLine(original, directory);
  const interaction = commandLine(message);
  if (!interaction) return null;
  const user = directory.member(interaction.user?.id) ?? interaction.user;
  return h(
    "div", { class: "above-line", "data-above": "command" }, avatar(user, "tiny"),
    h("b", { class: "author", style: { "--color": colorOf(user) } }, displayName(user)), " used ", h("span", { class: "command-chip" }, interaction.name),
  );
}

function replyLine(original, directory) {
  if (original === null) return h("div", { class: "above-line", "data-above": "reply" }, h("i", {}, "The original message is not here any more"));
  const user = directory.member(original.author.id) ?? original.author;
  return h(
    "button", { class: "above-line", type: "button", "data-above": "reply", "data-action": "jump", "data-target": original.id },
    avatar(user, "tiny"), h("b", { class: "author", style: { "--color": colorOf(user) } }, displayName(user)), h("span", { class: "excerpt" }, excerpt(original, directory)),
  );
}

function body(message, context) {
  if (message.local === "sending") return h("div", { class: "thinking", role: "status" }, dots(), "Sending command…");
  if (message.local === "failed") return h("div", { class: "failed", role: "alert", "data-interaction-failed": true }, message.content);
  if (isThinking(message)) return h("div", { class: "thinking", role: "status", "data-thinking": true }, dots(), `${displayName(message.author)} is thinking…`);
  const files = message.attachments ?? [];
  const shownInside = ((message.flags ?? 0) & (1 << 15)) !== 0;
  const visual = shownInside ? [] : files.filter(isVisual);
  const others = shownInside ? [] : files.filter((file) => !isVisual(file));
  return [
    message.content && h("div", { class: "content" }, markdown(message.content, context.directory)),
    visual.length > 0 && gallery(visual.slice(0, 10).map((file) => ({ media: file, description: file.description, spoiler: file.filename.startsWith("SPOILER_") })), message),
    others.map((file) => fileCard({ url: file.url, name: file.filename, size: file.size, spoiler: file.filename.startsWith("SPOILER_") })),
    (message.embeds ?? []).map((raw) => embed(raw, message, context.directory)),
    (message.components ?? []).length > 0 && h("div", { class: "components" }, components(message.components, context)),
  ];
}
