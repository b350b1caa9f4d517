/** Dates as Discord writes them: `<t:unix:style>` marks in text and the time beside an author's name. */

const STYLES = {
  t: { timeStyle: "short" },
  T: { timeStyle: "medium" },
  d: { dateStyle: "short" },
  D: { dateStyle: "long" },
  f: { dateStyle: "long", timeStyle: "short" },
  F: { dateStyle: "full", timeStyle: "short" },
  s: { dateStyle: "short", timeStyle: "short" },
  S: { dateStyle: "short", timeStyle: "medium" },
};

const UNITS = [["year", 31_557_600], ["month", 2_629_800], ["day", 86_400], ["hour", 3600], ["minute", 60], ["second", 1]];
const ago = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

/** "in 2 minutes", "3 days ago" for a moment in milliseconds. */
export function relative(moment, now = Date.now()) {
  const seconds = Math.round((moment - now) / 1000);
  const [unit, length] = UNITS.find(([, size]) => Math.abs(seconds) >= size) ?? UNITS.at(-1);
  return ago.format(Math.trunc(seconds / length), unit);
}

/** The text of a `<t:…>` mark; an unknown style reads as the default, `f`. */
export function formatted(seconds, style) {
  const date = new Date(seconds * 1000);
  if (Number.isNaN(date.getTime())) return "invalid date";
  return style === "R" ? relative(date.getTime()) : new Intl.DateTimeFormat("en-GB", STYLES[style] ?? STYLES.f).format(date);
}

/** "Today at 14:02", "Yesterday at 09:15" or "03/11/2026 09:15". */
export function posted(iso, now = new Date()) {
  const date = new Date(iso);
  const time = new Intl.DateTimeFormat("en-GB", { timeStyle: "short" }).format(date);
  const days = Math.round((new Date(now).setHours(0, 0, 0, 0) - new Date(date).setHours(0, 0, 0, 0)) / 86_400_000);
  if (days === 0) return `Today at ${time}`;
  if (days === 1) return `Yesterday at ${time}`;
  return `${new Intl.DateTimeFormat("en-GB", { dateStyle: "short" }).format(date)} ${time}`;
}

/** Keep every relative time on the page true. */
export function refreshRelativeTimes(root) {
  for (const mark of root.querySelectorAll("time[data-relative]")) {
    const text = relative(Date.parse(mark.dateTime));
    if (mark.textContent !== text) mark.textContent = text;
  }
}
