/** The line at the bottom: plain text until it names a command, then that command's form. */
import { ATTACHMENT, commandIn, commandsLike, nestOptions, readLine } from "./command_line.js";
import { CommandForm } from "./command_form.js";
import { fill, h } from "./dom.js";
import { Suggestions } from "./suggestions.js";

const NOT_A_COMMAND = "This channel takes commands. Type / to see them.";

export class Composer {
  #filling = null;
  #last = null;
  #sending = false;
  #leaves = [];

  /**
   * `parts` are the page's nodes `{form, line, menu, problem, plus}`.
   * `host` is `{run(leaf, options), upload(file), autocomplete(leaf, options, signal)}`; `run` rejects with the sentence to show.
   */
  constructor(parts, host) {
    Object.assign(this, parts, { host });
    this.suggestions = new Suggestions(this.menu);
    this.text = h("textarea", {
      class: "composer-text", rows: 1, "data-composer-text": true, role: "combobox", "aria-expanded": "false", "aria-autocomplete": "list",
      "aria-label": "Command", autocomplete: "off", spellcheck: "false", enterkeyhint: "send",
    });
    this.text.addEventListener("input", () => this.#typed());
    this.text.addEventListener("focus", () => this.#showCommands());
    this.text.addEventListener("blur", () => this.suggestions.hide());
    this.text.addEventListener("keydown", (event) => this.#key(event));
    this.form.addEventListener("submit", (event) => { event.preventDefault(); this.send(); });
    this.form.addEventListener("paste", (event) => {
      const [file] = event.clipboardData?.files ?? [];
      if (file) { event.preventDefault(); this.attach(file); }
    });
    this.plus.addEventListener("click", () => { if (this.#filling) this.#filling.tail.focus(); else this.suggest("/"); });
    fill(this.line, this.text);
  }

  /** The commands and the place have changed; a form whose command is gone closes. */
  setPlace({ directory, leaves, placeholder, fresh }) {
    this.directory = directory;
    this.#leaves = leaves;
    this.text.placeholder = placeholder;
    const leaf = this.#filling && leaves.find((each) => each.name === this.#filling.leaf.name);
    if (fresh || (this.#filling && !leaf)) this.leave("", false);
    else if (!this.#filling && document.activeElement === this.text) this.#showCommands();
  }

  focus() {
    (this.#filling ?? this.text).focus();
  }

  /** Write a line into the composer, as if it had been typed. */
  suggest(line) {
    this.leave(line);
    this.#typed();
  }

  /** Take a dropped or pasted file, starting the first command that takes one when none is open. */
  attach(file) {
    if (!this.#filling) {
      const leaf = this.#leaves.find((each) => each.options.some((option) => option.type === ATTACHMENT));
      if (!leaf) { this.#say("No command here takes a file."); return; }
      this.#start(leaf, []);
    }
    if (!this.#filling.attach(file)) this.#say(`/${this.#filling.leaf.name} takes no file.`);
  }

  /** Back to plain text. */
  leave(text, focus = true) {
    this.#filling?.close();
    this.#filling = null;
    this.text.value = text;
    this.#say(null);
    fill(this.line, this.text);
    this.#grow();
    this.suggestions.hide();
    if (focus) { this.text.focus(); this.#showCommands(); }
  }

  /** Send what is there, or say why it cannot be sent. */
  async send() {
    if (this.#sending) return;
    if (!this.#filling) {
      const line = this.text.value.trim();
      if (!line) return;
      const found = commandIn(line, this.#leaves);
      if (!found) { this.#say(line.startsWith("/") ? "There is no such command here." : NOT_A_COMMAND); return; }
      this.#start(found.leaf, readLine(found.rest, found.leaf));
    }
    const form = this.#filling;
    this.#sending = true;
    this.form.setAttribute("aria-busy", "true");
    try {
      const { options, problems } = await form.read();
      if (form !== this.#filling) return;
      if (problems) { this.#say(problems.join(" ")); return; }
      this.suggestions.hide();
      await this.host.run(form.leaf, nestOptions(form.leaf, options));
      this.#last = { name: form.leaf.name, entries: form.entries };
      if (form === this.#filling) { this.leave(""); this.suggestions.hide(); }
    } catch (error) {
      this.#say(error.message);
    } finally {
      this.#sending = false;
      this.form.removeAttribute("aria-busy");
    }
  }

  #start(leaf, entries) {
    this.#say(null);
    this.suggestions.hide();
    this.#filling = new CommandForm(leaf, entries, {
      directory: this.directory, suggestions: this.suggestions, upload: this.host.upload,
      autocomplete: (options, signal) => this.host.autocomplete(leaf, nestOptions(leaf, options), signal),
      send: () => this.send(), leave: (text) => this.leave(text),
    });
    this.#filling.node.addEventListener("input", () => this.#say(null));
    fill(this.line, this.#filling.node);
    this.#filling.focus();
  }

  #typed() {
    this.#say(null);
    this.#grow();
    const found = commandIn(this.text.value, this.#leaves);
    if (found && /^\s/.test(found.rest)) this.#start(found.leaf, readLine(found.rest, found.leaf));
    else this.#showCommands();
  }

  #showCommands() {
    const line = this.text.value;
    if (!line.startsWith("/")) { this.suggestions.hide(); return; }
    this.suggestions.show({
      title: "Commands", note: this.directory.bot.name, active: 0, field: this.text,
      empty: this.#leaves.length ? "No command of that name" : "The bot has registered no commands yet",
      rows: commandsLike(line, this.#leaves).map((leaf) => ({ label: `/${leaf.name}`, detail: leaf.description, pick: () => this.#start(leaf, []) })),
    });
  }

  #key(event) {
    if (event.isComposing) return;
    const handled = {
      ArrowDown: () => this.suggestions.move(1),
      ArrowUp: () => this.suggestions.move(-1) || (this.text.value === "" && this.#recall()),
      Tab: () => !event.shiftKey && this.suggestions.pick(),
      Escape: () => { this.suggestions.hide(); return true; },
      Enter: () => !event.shiftKey && this.#enter(),
    }[event.key]?.();
    if (handled) event.preventDefault();
  }

  #enter() {
    const exact = commandIn(this.text.value, this.#leaves);
    const complete = exact && !exact.rest.trim() && !exact.leaf.options.some((option) => option.required);
    if (complete || !this.suggestions.pick()) this.send();
    return true;
  }

  /** Bring the last command back, to change and send again. */
  #recall() {
    const leaf = this.#last && this.#leaves.find((each) => each.name === this.#last.name);
    if (!leaf) return false;
    const entries = this.#last.entries.map(({ option, text }) => ({ option: leaf.options.find((each) => each.name === option.name), text }));
    this.#start(leaf, entries.filter(({ option }) => option));
    return true;
  }

  #say(sentence) {
    this.problem.textContent = sentence ?? "";
    this.problem.hidden = !sentence;
  }

  #grow() {
    this.line.dataset.text = this.text.value;
  }
}
