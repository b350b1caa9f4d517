/** The part of Markdown that Discord draws in messages, as DOM nodes. */
import { displayName } from "./directory.js";
import { h, safeUrl } from "./dom.js";
import { formatted, relative } from "./timestamps.js";

const DEEPEST = 10;
const PAIRS = [
  ["***", (children) => h("strong", {}, h("em", {}, children))],
  ["**", (children) => h("strong", {}, children)],
  ["__", (children) => h("u", {}, children)],
  ["~~", (children) => h("s", {}, children)],
  ["||", (children) => spoiler(children)],
  ["*", (children) => h("em", {}, children)],
  ["_", (children) => h("em", {}, children)],
];
const ESCAPABLE = /[\\*_~`|>#\-[\]()<:@!.+]/;

/** Draw a whole text: blocks and what is inside them. `directory` gives mentions their names. */
export function markdown(text, directory) {
  const nodes = [];
  const fence = /```(?:([\w+\-.#]*)\n)?([\s\S]*?)\n?```\n?/g;
  let from = 0;
  for (const match of text.matchAll(fence)) {
    nodes.push(...lines(text.slice(from, match.index), directory));
    nodes.push(h("pre", { class: "md-code", "data-language": match[1] || null, tabindex: 0 }, h("code", {}, match[2])));
    from = match.index + match[0].length;
  }
  nodes.push(...lines(text.slice(from), directory));
  return nodes;
}

function lines(text, directory) {
  if (!text) return [];
  const nodes = [];
  const rows = text.split("\n");
  let plain = [];
  const flush = () => {
    while (nodes.length && plain.length && plain[0] === "") plain.shift();
    if (plain.length) nodes.push(h("div", { class: "md-text" }, inline(plain.join("\n"), directory)));
    plain = [];
  };
  const block = (node) => { flush(); nodes.push(node); };
  for (let index = 0; index < rows.length; index += 1) {
    const row = rows[index];
    let match;
    if ((match = /^>>> ?(.*)$/.exec(row))) {
      block(h("blockquote", { class: "md-quote" }, lines([match[1], ...rows.slice(index + 1)].join("\n"), directory)));
      break;
    } else if (/^> /.test(row)) {
      const quoted = [];
      for (; index < rows.length && /^>( |$)/.test(rows[index]); index += 1) quoted.push(rows[index].slice(2));
      index -= 1;
      block(h("blockquote", { class: "md-quote" }, lines(quoted.join("\n"), directory)));
    } else if ((match = /^(#{1,3}) +(.+)$/.exec(row))) {
      // The page itself owns the first heading levels.
      block(h(`h${match[1].length + 2}`, { class: `md-heading md-heading-${match[1].length}` }, inline(match[2], directory)));
    } else if ((match = /^-# +(.+)$/.exec(row))) {
      block(h("small", { class: "md-subtext" }, inline(match[1], directory)));
    } else if (listItem(row)) {
      const items = [];
      for (let item; index < rows.length && (item = listItem(rows[index])); index += 1) {
        // A numbered list after a bulleted one is a list of its own, unless it is nested.
        if (items.length && item.ordered !== items[0].ordered && item.depth <= items[0].depth) break;
        items.push(item);
      }
      index -= 1;
      block(list(items, directory));
    } else {
      plain.push(row);
    }
  }
  while (plain.length > 1 && plain.at(-1) === "") plain.pop();
  flush();
  return nodes;
}

function listItem(row) {
  const match = /^( *)(?:([-*])|(\d{1,9})\.) +(\S.*)$/.exec(row);
  return match && { depth: Math.floor(match[1].length / 2), ordered: Boolean(match[3]), start: match[3], text: match[4] };
}

function list(items, directory) {
  const [first] = items;
  const node = h(first.ordered ? "ol" : "ul", { class: "md-list", start: first.ordered ? first.start : null });
  for (let index = 0; index < items.length; ) {
    const entry = h("li", {}, inline(items[index].text, directory));
    let end = index + 1;
    while (end < items.length && items[end].depth > first.depth) end += 1;
    if (end > index + 1) entry.append(list(items.slice(index + 1, end), directory));
    node.append(entry);
    index = end;
  }
  return node;
}

/** Draw a run of text without blocks: button labels' neighbours, embed titles, list items. */
export function inline(text, directory, depth = 0) {
  if (depth > DEEPEST) return [text];
  const nodes = [];
  let plain = "";
  const put = (node) => {
    if (plain) nodes.push(plain);
    plain = "";
    nodes.push(node);
  };
  for (let at = 0; at < text.length; ) {
    const mark = text[at];
    if (mark === "\\" && ESCAPABLE.test(text[at + 1] ?? "")) {
      plain += text[at + 1];
      at += 2;
      continue;
    }
    const found = code(text, at) ?? angled(text, at, directory) ?? link(text, at, directory, depth) ?? emphasis(text, at, directory, depth);
    if (found) {
      put(found.node);
      at = found.end;
    } else {
      plain += mark;
      at += 1;
    }
  }
  if (plain) nodes.push(plain);
  return nodes;
}

function at(pattern, text, from) {
  pattern.lastIndex = from;
  return pattern.exec(text);
}

function code(text, from) {
  if (text[from] !== "`") return null;
  const ticks = at(/`+/y, text, from)[0];
  let end = text.indexOf(ticks, from + ticks.length);
  while (end >= 0 && text[end + ticks.length] === "`") end = text.indexOf(ticks, end + ticks.length + 1);
  if (end < 0) return null;
  const body = text.slice(from + ticks.length, end);
  return { node: h("code", { class: "md-inline-code" }, ticks.length > 1 ? body.trim() : body), end: end + ticks.length };
}

/** Everything Discord writes between angle brackets, and @everyone. */
function angled(text, from, directory) {
  if (text[from] === "@") {
    const everyone = at(/@(everyone|here)\b/y, text, from);
    return everyone && { node: mention(everyone[0]), end: from + everyone[0].length };
  }
  if (text[from] !== "<") return null;
  const match = at(/<(?:@!?(\d+)|@&(\d+)|#(\d+)|t:(-?\d{1,13})(?::([tTdDfFRsS]))?|\/([^:>\n]{1,100}):(\d+)|a?:(\w+):(\d+)|(https?:\/\/[^\s>]+))>/y, text, from);
  if (!match) return null;
  const [whole, user, role, channel, moment, style, command, , emoji, , address] = match;
  let node;
  if (user) node = mention(`@${displayName(directory.member(user))}`, { "data-user-id": user });
  else if (role) node = mention(`@${directory.role?.(role)?.name ?? "role"}`);
  else if (channel) node = mention(`#${directory.channel(channel)?.name ?? "unknown"}`, { "data-channel-id": channel });
  else if (command) node = h("button", { class: "md-mention md-command", type: "button", "data-action": "command", "data-command": command }, `/${command}`);
  else if (emoji) node = h("span", { class: "md-emoji" }, `:${emoji}:`);
  else if (address) node = anchor(address, address);
  else node = timestamp(Number(moment), style);
  return { node: node ?? whole, end: from + whole.length };
}

function mention(text, attributes = {}) {
  return h("span", { class: "md-mention", ...attributes }, text);
}

function timestamp(seconds, style) {
  const moment = new Date(seconds * 1000);
  if (Number.isNaN(moment.getTime())) return h("span", { class: "md-time" }, "invalid date");
  const text = style === "R" ? relative(moment.getTime()) : formatted(seconds, style);
  return h("time", { class: "md-time", datetime: moment.toISOString(), title: formatted(seconds, "F"), "data-relative": style === "R" }, text);
}

function anchor(address, children) {
  const url = safeUrl(address);
  return url && h("a", { class: "md-link", href: url, target: "_blank", rel: "noopener noreferrer nofollow" }, children);
}

function link(text, from, directory, depth) {
  if (text[from] === "[") {
    const match = at(/\[([^[\]\n]{1,512})\]\(<?(https?:\/\/[^\s<>)]+)>?\)/y, text, from);
    const node = match && anchor(match[2], inline(match[1], directory, depth + 1));
    return node && { node, end: from + match[0].length };
  }
  if (text[from] !== "h") return null;
  const match = at(/https?:\/\/[^\s<>|*`]+[^\s<>|*`.,:;"'!?)\]]/y, text, from);
  const node = match && anchor(match[0], match[0]);
  return node && { node, end: from + match[0].length };
}

function emphasis(text, from, directory, depth) {
  for (const [mark, wrap] of PAIRS) {
    if (!text.startsWith(mark, from)) continue;
    const start = from + mark.length;
    // snake_case stays as it is, and so does 2 * 3 * 4.
    if (mark === "_" && /\w/.test(text[from - 1] ?? "")) continue;
    if (mark.length === 1 && /\s/.test(text[start] ?? " ")) continue;
    const end = closing(text, start, mark);
    if (end > start) return { node: wrap(inline(text.slice(start, end), directory, depth + 1)), end: end + mark.length };
  }
  return null;
}

function closing(text, from, mark) {
  for (let index = from; index < text.length; index += 1) {
    if (text[index] === "\\") { index += 1; continue; }
    if (!text.startsWith(mark, index)) continue;
    if (mark.length === 1) {
      if (text[index + 1] === mark) { index += 1; continue; }
      if (/\s/.test(text[index - 1])) continue;
      if (mark === "_" && /\w/.test(text[index + 1] ?? "")) continue;
    }
    return index;
  }
  return -1;
}

function spoiler(children) {
  return h(
    "span",
    { class: "spoiler", role: "button", tabindex: 0, "data-action": "reveal", "aria-label": "Spoiler, press to show" },
    h("span", { class: "spoiler-text" }, children),
  );
}
