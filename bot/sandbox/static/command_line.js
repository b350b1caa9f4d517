/** Slash commands as text: which command a line names, and which `name: value` pairs it holds. Pure. */

// Option types, https://docs.discord.com/developers/interactions/application-commands
export const SUBCOMMAND = 1;
export const SUBCOMMAND_GROUP = 2;
export const STRING = 3;
export const INTEGER = 4;
export const BOOLEAN = 5;
export const USER = 6;
export const CHANNEL = 7;
export const ROLE = 8;
export const MENTIONABLE = 9;
export const NUMBER = 10;
export const ATTACHMENT = 11;

/**
 * What can be typed: one entry per command without subcommands, and per subcommand.
 * Each is `{name: "admin grant", path: ["admin", "grant"], description, options}`, required options first.
 */
export function typeable(commands) {
  const found = [];
  const walk = (node, path) => {
    const nested = (node.options ?? []).filter((option) => option.type === SUBCOMMAND || option.type === SUBCOMMAND_GROUP);
    if (nested.length) nested.forEach((child) => walk(child, [...path, child.name]));
    else {
      const options = [...(node.options ?? [])].sort((one, other) => Number(other.required === true) - Number(one.required === true));
      found.push({ name: path.join(" "), path, description: node.description, options });
    }
  };
  for (const command of commands) walk(command, [command.name]);
  return found.sort((one, other) => one.name.localeCompare(other.name));
}

/** The command a line starts with, and the text after it; null when it names none completely. */
export function commandIn(line, leaves) {
  const text = line.trimStart();
  if (!text.startsWith("/")) return null;
  let best = null;
  for (const leaf of leaves) {
    const pattern = new RegExp(`^/${leaf.path.map(escaped).join("\\s+")}(?=\\s|$)`, "i");
    const match = pattern.exec(text);
    if (match && (!best || match[0].length > best.length)) best = { leaf, length: match[0].length };
  }
  return best && { leaf: best.leaf, rest: text.slice(best.length) };
}

/** Commands whose name fits what has been typed so far, best first. */
export function commandsLike(line, leaves) {
  const typed = line.trimStart().replace(/^\//, "").toLowerCase().replace(/\s+/g, " ");
  const rank = (leaf) => (leaf.name.startsWith(typed) ? 0 : leaf.name.includes(typed) ? 1 : leaf.description?.toLowerCase().includes(typed) && typed.length > 2 ? 2 : 3);
  return leaves.map((leaf) => [rank(leaf), leaf]).filter(([place]) => place < 3).sort(([one], [other]) => one - other).map(([, leaf]) => leaf);
}

/**
 * Split "a red circle aspect: 16:9" at the names of `options`: `{lead: "a red circle", entries: [{option, text}]}`.
 * A name counts once; where it comes again, it is part of the text around it.
 */
export function splitOptions(text, options) {
  if (options.length === 0) return { lead: text.trim(), entries: [] };
  const names = options.map((option) => escaped(option.name)).sort((one, other) => other.length - one.length);
  const cuts = [];
  const seen = new Set();
  for (const match of text.matchAll(new RegExp(`(?<=^|\\s)(${names.join("|")}):`, "gi"))) {
    const name = match[1].toLowerCase();
    if (seen.has(name)) continue;
    seen.add(name);
    cuts.push({ option: options.find((option) => option.name === name), from: match.index, to: match.index + match[0].length });
  }
  const entries = cuts.map((cut, index) => ({ option: cut.option, text: text.slice(cut.to, cuts[index + 1]?.from).trim() }));
  return { lead: text.slice(0, cuts[0]?.from).trim(), entries };
}

/** Read everything after a command's name; text before the first pair belongs to the first option that takes text. */
export function readLine(rest, leaf) {
  const { lead, entries } = splitOptions(rest, leaf.options);
  const taken = new Set(entries.map(({ option }) => option));
  const first = lead && leaf.options.find((option) => option.type !== ATTACHMENT && !taken.has(option));
  return first ? [{ option: first, text: lead }, ...entries] : entries;
}

/** The interaction's `options`, wrapped in the subcommands of `leaf`. */
export function nestOptions(leaf, options) {
  return leaf.path.slice(1).reduceRight((inner, name, index) => [{ name, type: index + 2 === leaf.path.length ? SUBCOMMAND : SUBCOMMAND_GROUP, options: inner }], options);
}

function escaped(text) {
  return text.replace(/[.*+?^${}()|[\]\\-]/g, "\\$&");
}
