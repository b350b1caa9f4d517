/** Who and what can be named on the page: the people, channels and commands of this sandbox. */

const ADMINISTRATOR = 1n << 3n;

// Readable on the dark background, for authors that come without a colour.
const COLORS = ["#e5737b", "#e0a458", "#8fbf6a", "#5fb3b3", "#6f9ceb", "#a78be8", "#d887c4"];

/** A sandbox world as one member sees it. `world` and `commands` are the page API's own answers, `reader` is the member's id. */
export class Directory {
  constructor(world, commands, reader) {
    this.guild = world.guild;
    this.bot = { ...world.bot, bot: true };
    this.members = world.members;
    this.roles = world.roles ?? [];
    const seen = world.channels.filter((channel) => !channel.seen_by || channel.seen_by.includes(reader));
    const withThreads = seen.filter((channel) => !channel.parent_id).flatMap((channel) => [channel, ...seen.filter((thread) => thread.parent_id === channel.id)]);
    this.channels = [...withThreads, { id: "dm", name: world.bot.name, topic: "A direct message: only you and the bot", dm: true }];
    this.commands = commands;
  }

  member(id) {
    return this.members.find((member) => member.id === id) ?? (id === this.bot.id ? this.bot : null);
  }

  role(id) {
    return this.roles.find((role) => role.id === id) ?? null;
  }

  channel(id) {
    return this.channels.find((channel) => channel.id === id) ?? null;
  }

  /** The key of the channel a message belongs to; direct-message channels have ids of their own that the page never sees. */
  channelKey(id) {
    return this.channels.some((channel) => channel.id === id) ? id : "dm";
  }

  command(name, type = 1) {
    return this.commands.find((command) => command.name === name && (command.type ?? 1) === type) ?? null;
  }

  /** Commands of `type` that Discord would offer this member. The bot checks again on its side. */
  commandsFor(memberId, type, channel) {
    return this.commands.filter((command) => (command.type ?? 1) === type && this.#offered(command, this.member(memberId), channel));
  }

  #offered(command, member, channel) {
    if (channel === "dm") return !command.guild_id && (command.contexts ? command.contexts.includes(1) : command.dm_permission !== false);
    if (command.contexts && !command.contexts.includes(0)) return false;
    if (command.nsfw && !this.channel(channel)?.nsfw) return false;
    const wanted = command.default_member_permissions;
    if (wanted === null || wanted === undefined) return true;
    if (member?.permissions === undefined) return member?.role === "moderator";
    const held = BigInt(member.permissions);
    return (held & ADMINISTRATOR) !== 0n || (wanted !== "0" && (held & BigInt(wanted)) === BigInt(wanted));
  }
}

/** A member's or author's display name. */
export function displayName(user) {
  return user?.name ?? user?.nick ?? user?.global_name ?? user?.username ?? "unknown member";
}

/** The colour of somebody's name and drawn avatar. */
export function colorOf(user) {
  if (typeof user?.color === "number" && user.color) return `#${user.color.toString(16).padStart(6, "0")}`;
  if (typeof user?.color === "string" && /^#[0-9a-f]{3,8}$/i.test(user.color)) return user.color;
  let sum = 0;
  for (const character of user?.id ?? displayName(user)) sum = (sum * 31 + character.codePointAt(0)) >>> 0;
  return COLORS[sum % COLORS.length];
}

/** One or two letters for a drawn avatar. */
export function initials(user) {
  const words = displayName(user).split(/[\s_.-]+/).filter(Boolean);
  return words.slice(0, 2).map((word) => [...word][0].toUpperCase()).join("") || "?";
}
