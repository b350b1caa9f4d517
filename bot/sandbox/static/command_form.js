/** A command being filled in: its chip, a pill per option, and a tail in which further options are named. */
import { ATTACHMENT, splitOptions } from "./command_line.js";
import { h } from "./dom.js";
import { OptionPill } from "./option_pill.js";
import { boundsOf, choicesLike, exactChoice, fixedChoices } from "./option_value.js";

const ASK_AFTER_MS = 250;
const SHORTEST_PREFIX = 2;

export class CommandForm {
  #pills = [];
  #asking = null;
  #timer = null;
  // Whether the highlight was moved with the arrow keys: then Enter takes it instead of sending.
  #moved = false;

  /**
   * `entries` are `[{option, text}]` already known.
   * `host` is `{directory, suggestions, upload(file), autocomplete(options, signal), send(), leave(text)}`.
   */
  constructor(leaf, entries, host) {
    Object.assign(this, { leaf, host });
    this.tail = h("textarea", {
      class: "pill-field command-tail", rows: 1, cols: 1, "data-composer-tail": true, role: "combobox", "aria-label": `More options of /${leaf.name}`, "aria-expanded": "false",
      autocomplete: "off", spellcheck: "false", enterkeyhint: "send",
    });
    this.tail.addEventListener("input", () => this.#tailTyped());
    this.tail.addEventListener("focus", () => this.#showUnused(this.tail));
    this.tail.addEventListener("keydown", (event) => this.#key(null, event));
    this.tailHolder = h("span", { class: "pill-value tail-value" }, this.tail);
    this.node = h("div", { class: "command-form", "data-command": leaf.name }, h("span", { class: "command-chip" }, `/${leaf.name}`), this.tailHolder);
    for (const option of leaf.options) if (option.required) this.#add(option);
    for (const { option, text } of entries) this.#add(option).setText(text);
    this.#labelTail();
  }

  /** Put the cursor where the next word belongs. */
  focus() {
    const next = this.#pills.find((pill) => pill.isEmpty && pill.option.required) ?? this.#pills.at(-1);
    if (next) next.focus();
    else this.tail.focus();
  }

  /** What has been filled in, to bring the same command back later; files are left out. */
  get entries() {
    return this.#pills.filter((pill) => !pill.isEmpty && pill.option.type !== ATTACHMENT).map((pill) => ({ option: pill.option, text: pill.text }));
  }

  /** Give a file to the focused or first free option that takes one; false when the command takes none. */
  attach(file) {
    const takes = this.leaf.options.filter((option) => option.type === ATTACHMENT);
    if (!takes.length) return false;
    const focused = this.#pills.find((pill) => pill.option.type === ATTACHMENT && pill.node.contains(document.activeElement));
    const free = this.#pills.find((pill) => pill.option.type === ATTACHMENT && pill.isEmpty);
    const unused = this.#unused().find((option) => option.type === ATTACHMENT);
    (focused ?? free ?? (unused ? this.#add(unused) : this.#pills.find((pill) => pill.option.type === ATTACHMENT))).attach(file);
    this.#labelTail();
    this.focus();
    return true;
  }

  /** `{options}` ready to send, or `{problems}`, one sentence per option that does not fit. Waits for uploads. */
  async read() {
    const results = await Promise.all(this.#pills.map(async (pill) => [pill, await pill.read()]));
    const problems = [];
    const options = [];
    for (const [pill, { value, problem }] of results) {
      pill.setProblem(problem ?? null);
      if (problem) problems.push(problem);
      else if (value !== undefined) options.push({ name: pill.option.name, type: pill.option.type, value });
    }
    const stray = this.tail.value.trim();
    if (stray) problems.push(`“${stray}” belongs to no option. Write it as name: value.`);
    if (problems.length) (results.find(([, result]) => result.problem)?.[0] ?? { focus: () => this.tail.focus() }).focus();
    return problems.length ? { problems } : { options };
  }

  /** Stop whatever is still being asked. */
  close() {
    clearTimeout(this.#timer);
    this.#asking?.abort();
    this.host.suggestions.hide();
  }

  #unused() {
    return this.leaf.options.filter((option) => !this.#pills.some((pill) => pill.option === option));
  }

  #add(option) {
    const known = this.#pills.find((pill) => pill.option === option);
    if (known) return known;
    const pill = new OptionPill(option, this.host.directory, {
      input: (changed) => this.#typed(changed),
      focus: (focused) => { this.#moved = false; this.#show(focused); },
      blur: () => this.#blurred(),
      key: (focused, event) => this.#key(focused, event),
      remove: (removed) => this.#remove(removed),
    }, this.host.upload);
    this.#pills.push(pill);
    this.node.insertBefore(pill.node, this.tailHolder);
    this.#labelTail();
    return pill;
  }

  #remove(pill) {
    const at = this.#pills.indexOf(pill);
    this.#pills.splice(at, 1);
    pill.node.remove();
    this.#labelTail();
    (this.#pills[at - 1] ?? this.#pills[0] ?? this.tail).focus();
  }

  #labelTail() {
    const count = this.#unused().length;
    this.tail.placeholder = count ? `+${count} optional` : "";
    this.tailHolder.dataset.text = this.tail.value || this.tail.placeholder;
  }

  #blurred() {
    setTimeout(() => { if (!this.node.contains(document.activeElement)) this.host.suggestions.hide(); });
  }

  #typed(pill) {
    this.#moved = false;
    if (pill.option.type === ATTACHMENT) return;
    const text = pill.text.replace(/\s*\n\s*/g, " ").trimStart();
    if (text !== pill.text) pill.setText(text);
    if (!this.#splitAtNames(pill, text)) this.#show(pill);
  }

  /** "a red circle aspect:" typed or pasted into one pill continues in the pill of that option. */
  #splitAtNames(pill, text) {
    const own = text.toLowerCase().startsWith(`${pill.option.name}:`);
    const open = [...this.#unused(), ...this.#pills.filter((other) => other !== pill && other.isEmpty).map((other) => other.option)].filter((option) => option.type !== ATTACHMENT);
    const { lead, entries } = splitOptions(own ? text.slice(pill.option.name.length + 1) : text, open);
    if (!entries.length && !own) return false;
    pill.setText(lead);
    for (const { option, text: value } of entries) this.#add(option).setText(value);
    const last = entries.length ? this.#add(entries.at(-1).option) : pill;
    last.focus();
    this.#show(last);
    return true;
  }

  #tailTyped() {
    this.#moved = false;
    this.#labelTail();
    const open = [...this.#unused(), ...this.#pills.filter((pill) => pill.isEmpty).map((pill) => pill.option)].filter((option) => option.type !== ATTACHMENT);
    const { lead, entries } = splitOptions(this.tail.value, open);
    if (entries.length) {
      this.tail.value = lead;
      this.#labelTail();
      for (const { option, text } of entries) this.#add(option).setText(text);
      this.#add(entries.at(-1).option).focus();
    } else this.#showUnused(this.tail);
  }

  #show(pill) {
    clearTimeout(this.#timer);
    this.#asking?.abort();
    const { option, text } = pill;
    if (fixedChoices(option, this.host.directory) && !pill.picked) this.#showChoices(pill, choicesLike(option, text, this.host.directory), text.trim() ? 0 : -1);
    else if (option.autocomplete && !pill.picked) {
      // Until the bot has answered, what it said before still helps where it fits.
      const typed = text.trim().toLowerCase();
      this.#showSuggested(pill, pill.suggested.filter((choice) => choice.name.toLowerCase().includes(typed)));
      this.#ask(pill);
    }
    else this.#showUnused(pill.field, pill);
  }

  #showChoices(pill, choices, active) {
    const { option } = pill;
    this.host.suggestions.show({
      title: option.name, note: `${option.description} · ${boundsOf(option)}`, field: pill.field, active, empty: "None of the choices fits",
      rows: choices.map((choice) => ({ label: choice.name, detail: choice.detail, pick: () => { pill.setText(choice.name, choice); pill.focus(); this.#moved = false; this.#show(pill); } })),
    });
  }

  /** What the bot suggests; the first is offered to Tab when it goes on from what was typed. */
  #showSuggested(pill, choices) {
    const typed = pill.text.trim().toLowerCase();
    if (choices.length) this.#showChoices(pill, choices, typed && choices[0].name.toLowerCase().startsWith(typed) ? 0 : -1);
    else this.#showUnused(pill.field, pill);
  }

  /** Ask the bot for choices, once the typing pauses. */
  #ask(pill) {
    this.#timer = setTimeout(async () => {
      const asking = new AbortController();
      this.#asking = asking;
      const others = this.#pills.filter((other) => other !== pill && !other.isEmpty && other.option.type !== ATTACHMENT);
      const read = await Promise.all(others.map(async (other) => ({ name: other.option.name, type: other.option.type, value: (await other.read()).value })));
      const options = [...read.filter((entry) => entry.value !== undefined), { name: pill.option.name, type: pill.option.type, value: pill.text, focused: true }];
      let choices = [];
      try {
        choices = await this.host.autocomplete(options, asking.signal);
      } catch (error) {
        if (error.name === "AbortError") return;
      }
      pill.suggested = choices;
      if (!asking.signal.aborted && document.activeElement === pill.field && !this.#moved) this.#showSuggested(pill, choices);
    }, ASK_AFTER_MS);
  }

  /** The options that can still be added, under the line that explains the focused one. */
  #showUnused(field, pill = null) {
    const word = (/(?:^|\s)(\S+)$/.exec(pill ? pill.text : this.tail.value)?.[1] ?? "").toLowerCase();
    const unused = this.#unused();
    const fitting = word.length >= (pill ? SHORTEST_PREFIX : 1) ? unused.filter((option) => option.name.startsWith(word)) : [];
    const rows = (pill && !fitting.length ? unused : pill ? [...fitting, ...unused.filter((option) => !fitting.includes(option))] : word ? fitting : unused).map((option) => ({
      label: option.name,
      detail: option.description,
      mark: h("span", { class: "suggestion-key" }, fitting[0] === option ? "Tab" : "+"),
      pick: () => this.#take(option, fitting.includes(option) ? word : "", pill),
    }));
    this.host.suggestions.show({
      title: pill ? pill.option.name : `/${this.leaf.name}`,
      note: pill ? `${pill.option.description} · ${boundsOf(pill.option)}` : this.leaf.description,
      rows, field, active: fitting.length ? 0 : -1, empty: !pill && word ? "No option of that name" : null,
    });
  }

  #take(option, word, pill) {
    if (word && pill) pill.setText(pill.text.slice(0, pill.text.length - word.length).trimEnd());
    this.tail.value = "";
    this.#labelTail();
    this.#add(option).focus();
  }

  #key(pill, event) {
    if (event.isComposing) return;
    const { suggestions } = this.host;
    const field = pill?.field ?? this.tail;
    const handled = {
      ArrowDown: () => suggestions.move(1) && (this.#moved = true),
      ArrowUp: () => suggestions.move(-1) && (this.#moved = true),
      Tab: () => !event.shiftKey && suggestions.pick(),
      Enter: () => { if (!(this.#enterPicks(pill) && suggestions.pick())) this.host.send(); return true; },
      Escape: () => { if (suggestions.isOpen) suggestions.hide(); else this.host.leave(""); return true; },
      Backspace: () => this.#backspace(pill, field),
      ArrowLeft: () => field.selectionStart === 0 && field.selectionEnd === 0 && this.#step(pill, -1),
      ArrowRight: () => (field.value === undefined || field.selectionStart === field.value.length) && this.#step(pill, 1),
    }[event.key]?.();
    if (handled) event.preventDefault();
  }

  #enterPicks(pill) {
    if (this.#moved) return true;
    if (!pill) return this.tail.value.trim() !== "";
    const { option, text } = pill;
    return !pill.isEmpty && !pill.picked && fixedChoices(option, this.host.directory) !== null && !exactChoice(option, text, this.host.directory);
  }

  #backspace(pill, field) {
    if (field.value !== undefined && (field.value !== "" || field.selectionStart !== 0)) return false;
    if (pill && !pill.option.required) this.#remove(pill);
    else if (this.#pills.every((each) => each.isEmpty)) this.host.leave(`/${this.leaf.name}`);
    else this.#step(pill, -1);
    return true;
  }

  #step(pill, by) {
    const at = pill ? this.#pills.indexOf(pill) : this.#pills.length;
    const target = this.#pills[at + by];
    if (target) target.focus(by < 0);
    else if (by > 0 && pill) this.tail.focus();
    return Boolean(target) || (by > 0 && pill !== null);
  }
}
