/** One option's text: what it may be, what it means, and the sentence when it does not fit. Pure. */
import { BOOLEAN, CHANNEL, INTEGER, MENTIONABLE, NUMBER, ROLE, STRING, USER } from "./command_line.js";
import { displayName } from "./directory.js";

const LONGEST_STRING = 6000;
const MOST_SHOWN = 25;

/** The fixed values an option can take, `[{name, value, detail}]`; null when it takes free text. */
export function fixedChoices(option, directory) {
  if (option.choices?.length) return option.choices;
  if (option.type === BOOLEAN) return [{ name: "True", value: true }, { name: "False", value: false }];
  if ([USER, ROLE, MENTIONABLE].includes(option.type)) {
    const people = [...directory.members, directory.bot].map((member) => ({ name: displayName(member), value: member.id, detail: member.bot ? "App" : member.title ?? member.role }));
    const roles = directory.roles.map((role) => ({ name: role.name, value: role.id, detail: "Role" }));
    return { [USER]: people, [ROLE]: roles, [MENTIONABLE]: [...people, ...roles] }[option.type];
  }
  if (option.type === CHANNEL) {
    const fits = (channel) => !channel.dm && (!option.channel_types?.length || option.channel_types.includes(channel.type));
    return directory.channels.filter(fits).map((channel) => ({ name: channel.name, value: channel.id, detail: channel.topic }));
  }
  return null;
}

/** The fixed values that go with what has been typed. */
export function choicesLike(option, text, directory) {
  const typed = plain(text);
  const choices = fixedChoices(option, directory) ?? [];
  const starts = choices.filter((choice) => plain(choice.name).startsWith(typed));
  const holds = choices.filter((choice) => !starts.includes(choice) && plain(choice.name).includes(typed));
  return [...starts, ...holds].slice(0, MOST_SHOWN);
}

function plain(text) {
  return text.trim().toLowerCase().replace(/^[@#]+/, "");
}

/** The choice a text names exactly, by name, value or mention. */
export function exactChoice(option, text, directory) {
  const typed = plain(text);
  const id = /^<[@#][!&]?(\d+)>$/.exec(text.trim())?.[1];
  return (fixedChoices(option, directory) ?? []).find((choice) => plain(choice.name) === typed || String(choice.value).toLowerCase() === (id ?? typed)) ?? null;
}

/** What an option's text means: `{value}`, or `{problem}` with a sentence for the member. */
export function readOption(option, text, directory) {
  const choices = fixedChoices(option, directory);
  if (choices) {
    const choice = exactChoice(option, text, directory);
    if (choice) return { value: choice.value };
    return { problem: choices.length ? `“${text.trim()}” is not one of the choices for ${option.name}.` : `This sandbox has nothing to choose for ${option.name}.` };
  }
  return option.type === INTEGER || option.type === NUMBER ? readNumber(option, text.trim()) : readString(option, text.trim());
}

function readNumber(option, text) {
  const whole = option.type === INTEGER;
  const value = Number(text.replace(",", "."));
  if (text === "" || !Number.isFinite(value)) return { problem: `${option.name} takes a number, and “${text}” is none.` };
  if (whole && !Number.isSafeInteger(value)) return { problem: `${option.name} takes a whole number.` };
  if (option.min_value !== undefined && value < option.min_value) return { problem: `${option.name} must be at least ${option.min_value}.` };
  if (option.max_value !== undefined && value > option.max_value) return { problem: `${option.name} must be at most ${option.max_value}.` };
  return { value };
}

function readString(option, text) {
  const { min_length: least = 0, max_length: most = LONGEST_STRING } = option;
  if (text.length < least) return { problem: `${option.name} needs at least ${least} characters.` };
  if (text.length > most) return { problem: `${option.name} may have at most ${most} characters; this has ${text.length}.` };
  return { value: text };
}

/** The bounds of an option in a few words, for the line above the composer. */
export function boundsOf(option) {
  const words = [option.required ? "required" : "optional"];
  const { min_value: least, max_value: most } = option;
  if (least !== undefined && most !== undefined) words.push(`${least} to ${most}`);
  else if (least !== undefined) words.push(`at least ${least}`);
  else if (most !== undefined) words.push(`at most ${most}`);
  if (option.type === STRING && option.max_length && !option.choices?.length) words.push(`up to ${option.max_length} characters`);
  return words.join(" · ");
}
