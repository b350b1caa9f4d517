/** The left column: channels, the direct message, and who sits at the keyboard. */
import { displayName } from "./directory.js";
import { h, icon } from "./dom.js";
import { avatar } from "./message.js";
import { patchChildren } from "./patch.js";

/**
 * Draw the column, in place, so that a member on the way through it by keyboard is not thrown out by news.
 * `parts` are `{guild, channels, direct, members}`; `now` is `{directory, channel, me, unread: Set of channel keys}`;
 * `on` hears `{channel(id), member(id), memberMenu(member, anchor)}`.
 */
export function drawSidebar(parts, { directory, channel, me, unread }, on) {
  parts.guild.textContent = directory.guild.name;
  const link = (each) => h(
    "li", { "data-key": each.id },
    h(
      "button", { class: "channel", type: "button", "data-channel": each.id, "aria-current": each.id === channel ? "page" : null, "data-unread": unread.has(each.id), "data-thread": Boolean(each.parent_id), onclick: () => on.channel(each.id) },
      each.dm ? avatar(directory.bot, "small") : icon("hash"),
      h("span", { class: "channel-name" }, each.name),
      each.nsfw && h("span", { class: "nsfw-badge", title: "Age-restricted" }, "18+"),
      each.dm && h("span", { class: "presence", "data-online": directory.bot.online, title: directory.bot.online ? "Connected" : "Not connected" }),
      unread.has(each.id) && h("span", { class: "visually-hidden" }, "unread"),
    ),
  );
  patchChildren(parts.channels, h("ul", {}, directory.channels.filter((each) => !each.dm).map(link)));
  patchChildren(parts.direct, h("ul", {}, directory.channels.filter((each) => each.dm).map(link)));
  patchChildren(parts.members, h("ul", {}, directory.members.map((member) => h(
    "li", { class: "member-row", "data-key": member.id },
    h(
      "button", { class: "member", type: "button", "aria-pressed": String(member.id === me), "data-member": member.id, onclick: () => on.member(member.id) },
      avatar(member), h("span", { class: "member-text" }, h("span", { class: "member-name" }, displayName(member)), h("small", {}, member.title ?? "Member")),
      member.id === me && h("span", { class: "you-badge" }, "You"),
    ),
    h("button", { class: "icon-button", type: "button", "aria-label": `More about ${displayName(member)}`, title: "More", "aria-haspopup": "menu", onclick: (event) => on.memberMenu(member, event.currentTarget) }, icon("more", 18)),
  ))));
}
