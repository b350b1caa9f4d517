"""Private answers about jobs and accounts: details, quota, the list of one's jobs, help. Pure, like the cards."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from discord import ui

from bot.layouts import remarks
from bot.layouts.cards import BAR, BLURPLE, GREEN, GREY, Card
from bot.layouts.mode_choices import MODES
from bot.words.phrasing import credits, dollars, duration, escape, moment, shorten, title_of
from bot.words.wording import sentence
from flux_core.errors import from_code
from flux_core.family import FAMILY
from flux_core.generation import GenerationRequest
from flux_core.jobs import Job, JobState, Lane, Picture
from flux_core.models import ASPECTS, ModelSpec
from flux_core.router import LOCAL, RoutingPolicy
from flux_core.service import Quota, WorkerInfo

MAX_TEXT = 4000
"""Characters that Discord takes in all texts of a message together."""

_AROUND = 60
"""Characters kept free for what stands above and below a list."""

GRANTS_SHOWN = 4
TIERS_SHOWN = 10

_FAMILY = {spec.id: spec for spec in FAMILY}
_THIRD_BACKTICK = re.compile(r"``(?=`)")


def details(job: Job, pictures: Sequence[Picture], *, parent: Job | None) -> Card:
    """Tell everything about a job: what is needed to draw it again, where it came from, what it cost."""
    request, spec = remarks.as_drawn(job), _FAMILY.get(job.request.model)
    rows = [
        ("Model", _model(request.model, spec)),
        ("Drawn at", f"{_size(job, pictures)}{_enlarged(spec)}{_steps(request)}"),
        ("Guidance", f"{request.guidance:g}" if request.guidance is not None else "none (this model works without)"),
        ("Mode", _mode(job)),
        *remarks.history(job),
    ]
    if request.strength is not None:
        rows.append(("Strength", f"{request.strength:g} of the starting picture may change"))
    if request.lora is not None:
        rows.append(("LoRA", f"{request.lora.name} with weight {request.lora.weight:g}"))
    if request.input_mask is not None:
        rows.append(("Mask", "where it is white, the starting picture was painted anew"))
    rows += [
        ("Seeds" if request.count > 1 else "Seed", ", ".join(str(seed) for seed in request.seeds)),
        ("Format", request.output_format.value),
        ("Cost", _cost(job)),
        ("Asked", f"{moment(job.created_at, 'f')} by <@{job.account.user_id}>"),
    ]
    if job.started_at is not None:
        rows.append(("Waited", duration(max(0.0, job.started_at - job.created_at))))
        if job.ended_at is not None and job.state is JobState.SUCCEEDED:
            rows.append(("Drawn in", duration(max(0.0, job.ended_at - job.started_at))))
    if job.parent_id is not None:
        rows.append(("Came from", _parent(job, parent)))
    if job.error_code is not None:
        rows.append(("Ended", sentence(from_code(job.error_code, job.error_facts or {}))))
    rows += [("Note", text) for text in remarks.notes(job)]
    rows += [(f"Picture {one.position + 1}", _picture(one)) for one in pictures]
    rows.append(("Job", f"`{job.id}`"))
    # In a code block nothing is markdown; only three backticks in a row could end it.
    prompt = _THIRD_BACKTICK.sub("``\u200b", request.prompt)
    block = f"```\n{prompt}\n```"
    body = shorten("\n".join(f"**{name}:** {value}" for name, value in rows), MAX_TEXT - len(block))
    return Card(ui.Container(ui.TextDisplay(block), ui.TextDisplay(body), accent_colour=BLURPLE))


_PAID = (JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED)


def _cost(job: Job) -> str:
    if job.lane is Lane.RELAXED:
        return "nothing (relaxed: drawn when nobody with credits was waiting)"
    if job.state not in _PAID:
        return f"{credits(job.cost)}, given back"
    back = sum(int(one.facts.get("refunded", 0)) for one in job.remarks if one.code == "partly_withheld")
    return credits(job.cost - back) + (f", after {credits(back)} went back" if back > 0 else "")


def quota(held: Quota, *, whose: int | None = None) -> Card:
    """Tell what an account has left and when it renews; ``whose``: the member's user id, for moderators."""
    heading = [] if whose is None else [f"### <@{whose}>"]
    lines = [*heading, *quota_lines(held)]
    lines.append(
        "-# One credit is one 1-megapixel picture by FLUX.1 \\[schnell\\]. Failed and cancelled jobs cost nothing."
    )
    return Card(ui.Container(ui.TextDisplay("\n".join(lines)), accent_colour=GREEN if held.left > 0 else GREY))


def quota_lines(held: Quota) -> list[str]:
    """Return what an account has left, when it renews, and what else holds for it."""
    return [*_purse(held), *_conditions(held)]


_PERIODS = {"day": "today's", "week": "this week's", "month": "this month's"}


def _purse(held: Quota) -> list[str]:
    fresh = max(0, held.allowance - held.spent)
    full = min(BAR, round(BAR * fresh / held.allowance)) if held.allowance > 0 else 0
    rolling = held.renewal.every == "rolling"
    whole = "the" if rolling else _PERIODS[held.renewal.every]
    per = f" in any {held.renewal.hours} hours" if rolling else ""
    lines = [
        f"**{credits(held.left)} left**",
        f"{'▰' * full}{'▱' * (BAR - full)} {credits(fresh)} of {whole} {credits(held.allowance)}{per}",
    ]
    if held.granted > 0:
        lasting = held.granted - sum(amount for amount, _ in held.expiring)
        parts = [f"{credits(amount)} until {moment(end, 'f')}" for amount, end in held.expiring[:GRANTS_SHOWN]]
        if len(held.expiring) > GRANTS_SHOWN:
            parts.append(f"{credits(sum(amount for amount, _ in held.expiring[GRANTS_SHOWN:]))} until later")
        if lasting > 0 or not parts:
            parts.append("which do not expire" if not parts else f"{credits(lasting)} that do not expire")
        if len(parts) == 1 and held.expiring:
            parts = [parts[0].removeprefix(f"{credits(held.granted)} ")]
        lines.append(f"plus {credits(held.granted)} granted{':' if len(parts) > 1 else ','} {', '.join(parts)}")
    if held.renews_at is not None:
        again = "The next part comes back" if rolling else "Renews"
        lines.append(f"{again} {moment(held.renews_at)}, {moment(held.renews_at, 'f')}.")
    if held.pool_left is not None:
        lines.append(f"The pool of all members has {credits(max(0, held.pool_left))} left.")
    return lines


def _conditions(held: Quota) -> list[str]:
    lines = []
    if held.relaxed:
        lines.append("Without credits, jobs are still drawn: relaxed, when nobody with credits is waiting.")
    if held.ready_at is not None:
        lines.append(f"The next order is possible {moment(held.ready_at)}.")
    at_once = f", {held.running} of at most {held.max_running} being drawn" if held.max_running is not None else ""
    lines.append(f"{held.waiting} of at most {held.max_waiting} jobs waiting{at_once}.")
    if held.tiers:
        lines.append(f"Tiers: {', '.join(f'**{escape(shorten(name, 60))}**' for name in held.tiers[:TIERS_SHOWN])}")
    if held.weight != 1:
        lines.append(f"Turns come {held.weight:g} times as often as everybody's.")
    return lines


def help_page(models: Iterable[ModelSpec]) -> Card:
    """Explain the bot with examples."""
    offered = "\n".join(f"- `{spec.id}` — {escape(spec.summary)}" for spec in models)
    return Card(
        ui.Container(
            ui.TextDisplay(
                "### Pictures from words\n"
                "`/imagine prompt: a lighthouse at dusk, oil painting` draws pictures and posts them here. "
                "Everybody gets a fair turn; failed and cancelled jobs cost nothing."
            ),
            ui.TextDisplay(
                "**Options**, also as flags inside the prompt:\n"
                "`/imagine prompt: a lighthouse at dusk --ar 16:9 --seed 7 --n 2`\n"
                f"- `--ar` shape: {', '.join(ASPECTS)}\n"
                "- `--size 1024x768` exact size in pixels, multiples of 16\n"
                "- `--n` how many pictures · `--seed` draws the same again\n"
                "- `--steps` finer, but slower · `--guidance` how closely to follow the words\n"
                "- `--mode` quality leaves nothing out; fast and turbo are quicker, and a little less exact\n"
                "- `--model` what draws · `--provider` who: `local` or a hosted one · `--format` webp, png or jpeg\n"
                "- `image` starts from your picture; `--strength 0.3` keeps much of it, `0.9` little\n"
                "- `mask` of your picture: what it shows white is painted anew, by a model that can\n"
                "- `--lora ink:0.8` a style that this studio has, and how strongly; the option offers them"
            ),
            ui.TextDisplay(f"**Models**\n{offered}"),
            ui.TextDisplay(
                "**Buttons** · **Reroll** draws the same words anew · **V1–V4** vary one picture · **Details** tells "
                "seed, size, licence and cost · **Delete** and **Cancel** are for whoever asked, and for moderators. "
                "Pressing a button on somebody else's picture starts a job of your own.\n"
                "**More** · `/jobs` what you have going on · `/history` all of it · `/quota` what you have left · "
                "`/settings` your own defaults · `/data` what I know of you"
            ),
            accent_colour=BLURPLE,
        )
    )


def providers(
    policy: RoutingPolicy,
    known: Sequence[str],
    workers: Sequence[WorkerInfo],
    spent: Mapping[str, int],
    *,
    here: int = 0,
    cap: int | None = None,
) -> Card:
    """Tell moderators who draws for their server, and how each hosted provider is doing.

    ``here``: what this server spent today, and ``cap`` the most it may, in millionths of a dollar.
    """
    own = title_of(LOCAL)
    if policy.first == "local":
        wait = policy.overflow_seconds
        long = f"would wait longer than {duration(wait)}" if wait else "would have to wait"
        first = f"First: **{own}**. A hosted provider takes a job that {long}."
    else:
        first = f"First: **hosted providers**, then {own}."
    match policy.providers:
        case None:
            may = "Hosted providers: **all** of them may draw"
        case ():
            may = "Hosted providers: **none** may draw"
        case named:
            may = f"Hosted providers: {', '.join(f'**{escape(title_of(name))}**' for name in named)} may draw"
    lines = [first, f"{may}; the **{policy.order}** comes first."]
    most = "this server has set no cap" if cap is None else f"at most **{dollars(cap)}** a day"
    lines.append(f"This server spent **{dollars(here)}** today; {most}.")
    rows = [_provider(name, [worker for worker in workers if worker.provider == name], spent) for name in known]
    if not rows:
        rows.append("No hosted provider is configured; the bot's owner can change that.")
    body = shorten("\n".join(rows), MAX_TEXT - sum(map(len, lines)) - _AROUND)
    return Card(
        ui.Container(
            ui.TextDisplay("### Who draws here\n" + "\n".join(lines)), ui.TextDisplay(body), accent_colour=BLURPLE
        )
    )


def _provider(name: str, workers: Sequence[WorkerInfo], spent: Mapping[str, int]) -> str:
    closed = [worker.closed for worker in workers if worker.closed is not None]
    caps = [worker.money_cap for worker in workers if worker.money_cap is not None]
    if not workers:
        state = "no worker is up"
    elif len(closed) == len(workers):
        state = f"takes no jobs: {escape(shorten(closed[0], 160))}"
    elif caps and remarks.is_spent(workers[-1].offers, min(caps) - spent.get(name, 0)):
        state = "waits for tomorrow: the day's money is spent"
    else:
        state = "running"
    cap = f" of {dollars(min(caps))}" if caps else ""
    title = escape(title_of(name))
    return f"- **{title}** (`{name}`): {state} · {dollars(spent.get(name, 0))}{cap} spent today by all servers"


def _model(id: str, spec: ModelSpec | None) -> str:
    if spec is None:
        return escape(id)
    use = "any use" if spec.commercial else "non-commercial use only"
    return f"{escape(spec.title)}, {escape(spec.licence)} ({use})"


def _mode(job: Job) -> str:
    mode = remarks.mode_of(job)
    wanted = "" if mode is job.request.mode else f" (asked for: {job.request.mode})"
    return f"{mode}, {MODES[mode]}{wanted}"


def _steps(request: GenerationRequest) -> str:
    return f", {request.steps} steps" if remarks.has_steps(request.model) else ""


def _size(job: Job, pictures: Sequence[Picture]) -> str:
    if pictures and remarks.is_hosted(job.provider):
        # A hosted provider draws the nearest of its own sizes.
        return f"{pictures[0].width}×{pictures[0].height}"
    return f"{job.request.width}×{job.request.height}"


def _enlarged(spec: ModelSpec | None) -> str:
    return f" (then enlarged {spec.enlarge}×)" if spec is not None and spec.enlarge > 1 else ""


def _parent(job: Job, parent: Job | None) -> str:
    which = f"picture {job.parent_position + 1} of " if job.parent_position is not None else ""
    link = message_link(parent) if parent is not None else None
    return f"{which}[this job]({link})" if link is not None else f"{which}job `{job.parent_id}`"


def _picture(one: Picture) -> str:
    if one.key is None:
        return f"seed {one.seed}, deleted"
    kind = one.content_type.removeprefix("image/")
    return f"seed {one.seed}, {one.width}×{one.height}, {one.size / 1024:,.0f} KB {kind}"


def message_link(job: Job) -> str | None:
    """Return the address of a job's public message; None where there is none that others can open."""
    reply = job.reply_to
    if reply is None or reply.message_id is None or reply.private:
        return None
    return f"https://discord.com/channels/{job.account.guild_id or '@me'}/{reply.channel_id}/{reply.message_id}"
