"""The page's own small machines, run in the browser they are written for: Markdown, command lines, patching."""

from __future__ import annotations

import pytest

from .browser import PageView

pytestmark = pytest.mark.browser

DRAW = """
const { markdown } = await import('/static/markdown.js');
const named = (id, name) => (wanted) => (wanted === id ? { name } : null);
const holder = document.createElement('div');
holder.append(...markdown(args[0], { member: named('1', 'Ada'), channel: named('2', 'studio') }));
for (const node of holder.querySelectorAll('*')) {
  for (const { name } of [...node.attributes]) if (name !== 'href' && name !== 'start') node.removeAttribute(name);
}
return holder.innerHTML;
"""

HURRY = """
const { markdown } = await import('/static/markdown.js');
return args.map((text) => markdown(text, {}).length > 0);
"""

READ = """
const { typeable, commandIn, readLine } = await import('/static/command_line.js');
const option = (name, type = 3) => ({ name, type });
const imagine = { name: 'imagine', options: [option('seed', 4), { ...option('prompt'), required: true }] };
const grant = { name: 'grant', type: 1, options: [option('member', 6)] };
const quota = { name: 'quota', type: 2, options: [{ name: 'set', type: 1, options: [] }] };
const found = commandIn(args[0], typeable([imagine, { name: 'admin', options: [grant, quota] }]));
return found && [found.leaf.name, readLine(found.rest, found.leaf).map(({ option, text }) => [option.name, text])];
"""


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("plain", "<div>plain</div>"),
        (
            "**b** *i* _i_ ***x*** __u__ ~~s~~",
            "<div><strong>b</strong> <em>i</em> <em>i</em> <strong><em>x</em></strong> <u>u</u> <s>s</s></div>",
        ),
        ("snake_case_word 2 * 3 * 4 \\*no\\*", "<div>snake_case_word 2 * 3 * 4 *no*</div>"),
        ("**never closed", "<div>**never closed</div>"),
        ("`a **b**` ``c ` d``", "<div><code>a **b**</code> <code>c ` d</code></div>"),
        ("||hidden||", "<div><span><span>hidden</span></span></div>"),
        ("# One\n-# small", "<h3>One</h3><small>small</small>"),
        ("> quoted\n> more\nafter", "<blockquote><div>quoted\nmore</div></blockquote><div>after</div>"),
        (">>> all\nof it", "<blockquote><div>all\nof it</div></blockquote>"),
        ("- a\n  - b\n- c\n2. d", '<ul><li>a<ul><li>b</li></ul></li><li>c</li></ul><ol start="2"><li>d</li></ol>'),
        ("```py\n<b>\n```", "<pre><code>&lt;b&gt;</code></pre>"),
        (
            "<@1> <@9> <#2> <t:0:R x>",
            "<div><span>@Ada</span> <span>@unknown member</span> <span>#studio</span> &lt;t:0:R x&gt;</div>",
        ),
        (
            "[t](https://example.org/a) https://example.org.",
            '<div><a href="https://example.org/a">t</a> <a href="https://example.org/">https://example.org</a>.</div>',
        ),
        ("[x](javascript:alert(1)) <script>", "<div>[x](javascript:alert(1)) &lt;script&gt;</div>"),
    ],
)
def test_markdown(page: PageView, text: str, drawn: str) -> None:
    assert page.run(DRAW, text) == drawn


def test_relative_times_count(page: PageView) -> None:
    script = (
        "const { relative } = await import('/static/timestamps.js'); return args.map((s) => relative(s * 1000, 0));"
    )
    assert page.run(script, 5, 90, -7200, 172_800) == ["in 5 seconds", "in 1 minute", "2 hours ago", "in 2 days"]


def test_hostile_markdown_takes_no_time(page: PageView) -> None:
    assert (
        page.run(HURRY, "*" * 4000, "_a" * 2000, "||" * 2000, "[" * 4000, "> " * 2000, "`" * 3999, "**a " * 1000)
        == [True] * 7
    )


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("/imagine prompt: a red circle seed: 4", ["imagine", [["prompt", "a red circle"], ["seed", "4"]]]),
        ("/imagine a red circle seed:4", ["imagine", [["prompt", "a red circle"], ["seed", "4"]]]),
        ("/Imagine Prompt: at 16:9 seed: 1 seed: 2", ["imagine", [["prompt", "at 16:9"], ["seed", "1 seed: 2"]]]),
        ("/imagine prompt: rosessed: 4", ["imagine", [["prompt", "rosessed: 4"]]]),
        ("/admin  grant member: Ada", ["admin grant", [["member", "Ada"]]]),
        ("/admin quota set", ["admin quota set", []]),
        ("/imaginex prompt: a", None),
        ("/admin", None),
        ("imagine", None),
    ],
)
def test_command_lines(page: PageView, typed: str, read: object) -> None:
    assert page.run(READ, typed) == read


EXCHANGE = """
const { patch } = await import('/static/patch.js');
const picture = (color) => {
  const canvas = Object.assign(document.createElement('canvas'), { width: 8, height: 8 });
  const pen = canvas.getContext('2d');
  pen.fillStyle = color;
  pen.fillRect(0, 0, 8, 8);
  return canvas.toDataURL();
};
const image = (source, alt) => Object.assign(new Image(), { src: source, alt });
const [red, blue] = [picture('red'), picture('blue')];
const shown = image(red, 'preview');
document.body.append(shown);
await shown.decode();
patch(shown, image(blue, 'result'));
const during = shown.src === red && shown.complete;
await new Promise((resolve) => new MutationObserver(resolve).observe(shown, { attributeFilter: ['src'] }));
const after = [shown.src === blue, shown.alt];
shown.remove();
return [during, ...after];
"""

REORDER = """
const { patchChildren } = await import('/static/patch.js');
const build = (keys) => {
  const list = document.createElement('div');
  for (const key of keys) {
    const child = document.createElement('p');
    if (key === key.toUpperCase()) child.dataset.key = key;
    child.append(key);
    list.append(child);
  }
  return list;
};
const list = build(args[0]);
for (const child of list.children) child.born = child.textContent;
patchChildren(list, build(args[1]));
return [[...list.children].map((child) => child.textContent), [...list.children].map((child) => child.born ?? null)];
"""


def test_a_new_picture_replaces_the_old_one_only_once_it_is_there(page: PageView) -> None:
    assert page.run(EXCHANGE) == [True, True, "result"]


@pytest.mark.parametrize(
    ("before", "after", "kept"),
    [
        ("ABC", "ABC", ["A", "B", "C"]),
        ("ABC", "CA", ["C", "A"]),
        ("AB", "AxB", ["A", None, "B"]),
        ("xAy", "A", ["A"]),
        ("xy", "yx", ["x", "y"]),
        ("", "Ax", [None, None]),
        ("AxB", "ByA", ["B", None, "A"]),
    ],
)
def test_children_with_keys_keep_their_nodes(page: PageView, before: str, after: str, kept: list[str | None]) -> None:
    assert page.run(REORDER, list(before), list(after)) == [list(after), kept]
