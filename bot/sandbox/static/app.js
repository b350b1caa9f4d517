/** Start the page: one member, one channel, and the events that change them. */
import { api, EventStream } from "./api.js";
import { typeable } from "./command_line.js";
import { allComponents, selectOptions } from "./components.js";
import { Composer } from "./composer.js";
import { Directory, displayName } from "./directory.js";
import { fill } from "./dom.js";
import { Interactions } from "./interactions.js";
import { openModal } from "./modal.js";
import { actionMenu, chooseFrom } from "./popover.js";
import { drawSidebar } from "./sidebar.js";
import { emptyChannel, Timeline } from "./timeline.js";
import { refreshRelativeTimes } from "./timestamps.js";
import { TroublePanel } from "./trouble.js";

const EXAMPLE = "/imagine prompt: a red circle on a blue background";
const PAGE_OF_MESSAGES = 50;
const CLOCK_MS = 1000;
const FAILURE_SHOWN_MS = 12_000;
const NO_ANSWER = "This interaction failed";

const part = (id) => document.getElementById(id);
const address = new URL(location.href);
const unread = new Set();
let world;
let commands;
let directory;
let me;
let channel;
let stream = null;
let limit = PAGE_OF_MESSAGES;
// Events that arrive while the messages are being loaded; they are newer than what is loading.
let held = null;

const interactions = new Interactions((modal) => openModal(modal, {
  directory,
  upload: (file) => api.upload(me, file),
  submit: (components) => submitModal(modal, components),
}));

const timeline = new Timeline(part("scroller"), part("messages"), part("jump"), {
  press: (message, node) => use(message, node.dataset.customId),
  select: openSelect,
  menu: openMessageMenu,
  command: (name) => composer.suggest(`/${name} `),
  changed: drawEmpty,
  dropped: () => { part("earlier").hidden = false; },
});

const composer = new Composer({ form: part("composer"), line: part("composer-line"), menu: part("composer-menu"), problem: part("composer-problem"), plus: part("composer-plus") }, {
  run: (leaf, options) => run({ name: leaf.path[0], type: 1, options }, leaf.name),
  upload: (file) => api.upload(me, file),
  autocomplete: async (leaf, options, signal) => (await api.autocomplete({ member: me, channel, name: leaf.path[0], options }, signal)).choices,
});

const trouble = new TroublePanel(part("trouble-body"));

/** Run a command of any type; rejects with the sentence to show when the sandbox refuses it. */
async function run(form, shownName) {
  const local = timeline.addLocal(shownName, form.type, directory.member(me));
  let started;
  try {
    started = await api.runCommand({ member: me, channel, ...form });
  } catch (error) {
    timeline.remove(local);
    throw error;
  }
  timeline.bindLocal(local, started.interaction_id);
  interactions.outcome(started.interaction_id).then(({ state, reason }) => {
    if (state === "failed") timeline.failLocal(local, reason || "The application did not respond");
    else timeline.remove(local);
  });
}

/** Press a button or choose in a select of `message`. */
async function use(message, customId, values) {
  const raw = [...allComponents(message.components)].find((each) => each.custom_id === customId);
  if (!raw || timeline.stateOf(message.id).pending.has(customId)) return;
  timeline.mark(message.id, (state) => {
    state.pending.add(customId);
    state.failed = null;
    if (values) state.chosen.set(customId, values);
  });
  const failure = await api.press({ member: me, channel, message_id: message.id, custom_id: customId, component_type: raw.type, ...(values && { values }) })
    .then(({ interaction_id }) => interactions.outcome(interaction_id))
    .then(({ state }) => (state === "failed" ? NO_ANSWER : null), (error) => error.message);
  timeline.mark(message.id, (state) => {
    state.pending.delete(customId);
    state.failed = failure;
    if (failure) state.chosen.delete(customId);
  });
  if (failure) setTimeout(() => timeline.mark(message.id, (state) => { if (state.failed === failure) state.failed = null; }), FAILURE_SHOWN_MS);
}

async function openSelect(message, node) {
  const raw = [...allComponents(message.components)].find((each) => each.custom_id === node.dataset.customId);
  const options = selectOptions(raw, directory);
  const chosen = timeline.stateOf(message.id).chosen.get(raw.custom_id) ?? options.filter((option) => option.default).map((option) => option.value);
  const values = await chooseFrom(node, { label: raw.placeholder ?? "Selection", options, chosen, min: raw.min_values ?? 1, max: raw.max_values ?? 1 });
  if (values !== null) use(message, raw.custom_id, values);
}

async function submitModal(modal, components) {
  try {
    const { interaction_id } = await api.submitModal({ member: me, interaction_id: modal.interaction_id, custom_id: modal.custom_id, components });
    const { state } = await interactions.outcome(interaction_id);
    return state === "failed" ? "Something went wrong. Try again." : null;
  } catch (error) {
    return error.message;
  }
}

function appItems(type, target) {
  const offered = directory.commandsFor(me, type, channel);
  const items = offered.map((command) => ({ label: command.name, action: () => run({ name: command.name, type, options: [], target_id: target }, command.name).catch((error) => say(error.message)) }));
  return items.length ? [{ label: "Apps" }, ...items] : [];
}

function openMessageMenu(message, anchor) {
  actionMenu(anchor, "Message", [
    ...appItems(3, message.id),
    { label: "Message" },
    ...(message.content ? [{ label: "Copy text", action: () => navigator.clipboard?.writeText(message.content) }] : []),
    { label: "Copy message ID", action: () => navigator.clipboard?.writeText(message.id), note: message.id },
  ]);
}

function openMemberMenu(member, anchor) {
  actionMenu(anchor, displayName(member), [
    ...appItems(2, member.id),
    { label: displayName(member) },
    ...(member.id === me ? [] : [{ label: "Become this member", action: () => become(member.id) }]),
    { label: "Copy user ID", action: () => navigator.clipboard?.writeText(member.id), note: member.id },
  ]);
}

/** A passing sentence in the corner. */
function say(sentence) {
  const toast = part("toast");
  toast.textContent = sentence;
  toast.hidden = false;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => { toast.hidden = true; }, 6000);
}

function drawEmpty() {
  const empty = timeline.isEmpty && held === null;
  part("empty").hidden = !empty;
  if (!empty) fill(part("empty"));
  else if (part("empty").dataset.channel !== channel || !part("empty").hasChildNodes()) {
    fill(part("empty"), emptyChannel(directory.channel(channel), directory.bot.name, EXAMPLE, (line) => composer.suggest(line)));
  }
  part("empty").dataset.channel = channel;
}

/** Draw everything around the messages. */
function drawFrame(fresh = false) {
  const place = directory.channel(channel);
  const who = directory.member(me);
  drawSidebar(
    { guild: part("guild"), channels: part("channels"), direct: part("direct"), members: part("members") },
    { directory, channel, me, unread },
    { channel: (id) => { closeSidebar(); open(id); }, member: become, memberMenu: openMemberMenu },
  );
  part("channel-mark").textContent = place.dm ? "@" : "#";
  part("channel-title").textContent = place.name;
  part("channel-topic").textContent = place.topic ?? "";
  document.title = `${place.dm ? "@" : "#"}${place.name} · flux-bot sandbox`;
  part("offline").hidden = directory.bot.online;
  composer.setPlace({ directory, leaves: typeable(directory.commandsFor(me, 1, channel)), placeholder: `Type / for a command, as ${displayName(who)}`, fresh });
  address.searchParams.set("member", me);
  address.searchParams.set("channel", channel);
  history.replaceState(null, "", address);
}

/** Fetch the open channel's messages and draw them; events that arrive meanwhile are applied after. */
async function load() {
  held = [];
  const asked = { me, channel };
  try {
    limit = Math.max(limit, timeline.size);
    const messages = await api.messages(me, channel, limit);
    if (asked.me !== me || asked.channel !== channel) return;
    timeline.show({ directory, me, channel, messages });
    part("earlier").hidden = messages.length < limit;
  } catch (error) {
    say(error.message);
  }
  if (asked.me !== me || asked.channel !== channel) return;
  const events = held ?? [];
  held = null;
  for (const [type, data] of events) receive(type, data);
  drawEmpty();
}

function open(id) {
  if (id === channel) return undefined;
  channel = id;
  limit = PAGE_OF_MESSAGES;
  unread.delete(id);
  clear();
  return load();
}

/** Another place or another pair of eyes: nothing of the old one stays on the page while the new one loads. */
function clear() {
  held = [];
  timeline.show({ directory, me, channel, messages: [] });
  drawFrame(true);
}

/** Somebody else sits down at the keyboard. */
function become(member) {
  if (member === me && stream) return;
  me = member;
  directory = new Directory(world, commands, me);
  if (!directory.channel(channel)) channel = directory.channels[0].id;
  unread.clear();
  stream?.close();
  clear();
  stream = new EventStream(me, { onEvent: receive, onOpen: reconnected, onLost: () => { part("disconnected").hidden = false; } });
}

async function reconnected() {
  part("disconnected").hidden = true;
  try {
    [world, commands] = await Promise.all([api.world(), api.commands()]);
    directory = new Directory(world, commands, me);
    drawFrame();
    showFaults(await api.faults());
  } catch (error) {
    say(error.message);
  }
  await load();
}

function showFaults(faults) {
  part("trouble-count").textContent = trouble.show(faults) || "";
}

function receive(type, data) {
  if (type === "interaction") interactions.settle(data.id, data.state, data.reason);
  else if (type === "modal") interactions.receiveModal(data);
  else if (type === "faults") showFaults(data);
  else if (type === "commands") { commands = data; directory = new Directory(world, commands, me); drawFrame(); }
  else if (type === "bot") { world.bot.online = data.online; directory.bot.online = data.online; drawFrame(); }
  else if (type.startsWith("message_")) receiveMessage(type, data);
}

function receiveMessage(type, data) {
  const key = directory.channelKey(data.channel_id);
  if (key !== channel) {
    if (type === "message_create") { unread.add(key); drawFrame(); }
  } else if (held) held.push([type, data]);
  else if (type === "message_delete") timeline.remove(data.id);
  else if (type === "message_update") timeline.update(data);
  else timeline.put(data);
}

/** A link to a message of this server leads there, as in Discord, and not out of the page. */
async function follow(event) {
  const link = event.target.closest("a[href]");
  const [, guild, place, message] = /^https:\/\/discord\.com\/channels\/(\d+)\/(\d+)\/(\d+)$/.exec(link?.href ?? "") ?? [];
  if (guild !== directory.guild.id || !directory.channel(place)) return;
  event.preventDefault();
  if (place !== channel) await open(place);
  timeline.goTo(message);
}

function closeSidebar() {
  document.body.removeAttribute("data-sidebar");
  part("sidebar-toggle").setAttribute("aria-expanded", "false");
}

function listen() {
  part("sidebar-toggle").addEventListener("click", () => {
    const shown = document.body.toggleAttribute("data-sidebar");
    part("sidebar-toggle").setAttribute("aria-expanded", String(shown));
  });
  part("sidebar-shade").addEventListener("click", closeSidebar);
  const toggleTrouble = () => {
    const shown = document.body.toggleAttribute("data-trouble-open");
    part("trouble").hidden = !shown;
    part("trouble-toggle").setAttribute("aria-expanded", String(shown));
    if (!shown) part("trouble-toggle").focus();
  };
  part("trouble-toggle").addEventListener("click", toggleTrouble);
  part("trouble-close").addEventListener("click", toggleTrouble);
  part("trouble").addEventListener("keydown", (event) => { if (event.key === "Escape") toggleTrouble(); });
  part("sidebar").addEventListener("keydown", (event) => { if (event.key === "Escape") closeSidebar(); });
  part("messages").addEventListener("click", follow);
  part("earlier").addEventListener("click", () => { limit = Math.max(limit, timeline.size) + PAGE_OF_MESSAGES; load(); });
  // A file dropped beside its place must not replace the page.
  for (const kind of ["dragover", "drop"]) document.addEventListener(kind, (event) => event.preventDefault());
  const main = part("main");
  main.addEventListener("dragover", (event) => {
    if (![...event.dataTransfer.types].includes("Files")) return;
    document.body.setAttribute("data-dragging", "");
  });
  main.addEventListener("dragleave", (event) => { if (!main.contains(event.relatedTarget)) document.body.removeAttribute("data-dragging"); });
  main.addEventListener("drop", (event) => {
    document.body.removeAttribute("data-dragging");
    const [file] = event.dataTransfer.files;
    if (file) composer.attach(file);
  });
  document.addEventListener("keydown", (event) => {
    // Typing anywhere goes to the composer, as in a chat.
    const free = document.activeElement === document.body || document.activeElement?.matches(".message");
    if (free && event.key.length === 1 && !event.ctrlKey && !event.metaKey && !event.altKey && event.key !== " ") composer.focus();
  });
  setInterval(() => refreshRelativeTimes(part("messages")), CLOCK_MS);
}

async function start() {
  listen();
  try {
    [world, commands] = await Promise.all([api.world(), api.commands()]);
  } catch (error) {
    part("starting").textContent = error.message;
    setTimeout(() => location.reload(), 3000);
    return;
  }
  const wanted = address.searchParams.get("member");
  channel = address.searchParams.get("channel");
  become((world.members.find((member) => member.id === wanted) ?? world.members[0]).id);
  part("starting").remove();
  document.body.removeAttribute("data-starting");
  if (matchMedia("(hover: hover)").matches) composer.focus();
}

start();
