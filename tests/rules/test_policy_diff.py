"""What differs between two policies is told completely, and in paths that can be found."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flux_core.policy.diff import Change, changes
from flux_core.policy.guild import ChannelRule, Defaults, GuildPolicy, Limits, PromptRule, Renewal, Tier

ARTISTS = Tier(role_id=5, name="Artists", credits=20, weight=2)


def test_equal_policies_have_no_changes():
    policy = GuildPolicy(tiers=(ARTISTS,), pool=5)
    assert changes(policy, policy.model_copy()) == []
    assert changes(GuildPolicy(), GuildPolicy()) == []


def test_values_are_told_as_the_document_has_them():
    before = GuildPolicy(everybody=Limits(credits=10), relaxed=False)
    after = GuildPolicy(everybody=Limits(credits=20, max_count=2), relaxed=True, moderators_channel=2**60)
    assert changes(before, after) == [
        Change("everybody.credits", "10", "20"),
        Change("everybody.max_count", None, "2"),
        Change("relaxed", "false", "true"),
        Change("moderators_channel", None, f'"{2**60}"'),
    ]


def test_entries_are_known_by_what_they_are_about_not_by_their_place():
    others = Tier(role_id=6, name="Others")
    before = GuildPolicy(tiers=(others, ARTISTS), channels=(ChannelRule(channel_id=9, allowed=True),))
    after = GuildPolicy(
        tiers=(ARTISTS.model_copy(update={"weight": 3.0}),),
        channels=(ChannelRule(channel_id=9, allowed=True, defaults=Defaults(model="flux-dev")),),
    )
    assert changes(before, after) == [
        Change("tiers[Others]", '{"role_id": "6", "name": "Others"}', None),
        Change("tiers[Artists].weight", "2", "3"),
        Change("channels[9].defaults.model", None, '"flux-dev"'),
    ]


def test_another_order_is_a_change_too():
    one, two = (PromptRule(kind="word", pattern=word) for word in ("ugly", "awful"))
    [change] = changes(GuildPolicy(prompt_rules=(one, two)), GuildPolicy(prompt_rules=(two, one)))
    assert change == Change("prompt_rules", "in this order", "in another order")


def test_a_rule_given_twice_counts_twice():
    rule = PromptRule(kind="word", pattern="ugly")
    [change] = changes(GuildPolicy(prompt_rules=(rule,)), GuildPolicy(prompt_rules=(rule, rule)))
    assert (change.path, change.before) == ("prompt_rules[word ugly, 2]", None)


def test_tiers_of_the_same_name_are_told_apart():
    tiers = tuple(Tier(role_id=id, name="Artists", weight=2) for id in (5, 6))
    heavier = tiers[1].model_copy(update={"weight": 3.0})
    [change] = changes(GuildPolicy(tiers=tiers), GuildPolicy(tiers=(tiers[0], heavier)))
    assert change.path == "tiers[Artists, 6].weight"


limits = st.builds(
    Limits,
    credits=st.none() | st.sampled_from([0, 5, 10.5]),
    renewal=st.none() | st.sampled_from([Renewal(), Renewal(every="rolling", hours=6)]),
    models=st.none() | st.sampled_from([(), ("flux-dev",)]),
)
policies = st.builds(
    GuildPolicy,
    everybody=limits,
    tiers=st.lists(
        st.builds(Tier, role_id=st.integers(1, 4), name=st.sampled_from("ab"), weight=st.none() | st.just(2.0)),
        max_size=3,
        unique_by=lambda tier: tier.role_id,
    ).map(tuple),
    prompt_rules=st.lists(
        st.builds(
            PromptRule, kind=st.just("word"), pattern=st.sampled_from(["ugly", "awful"]), everywhere=st.booleans()
        ),
        max_size=3,
    ).map(tuple),
    pool=st.none() | st.just(3.0),
)


@given(policies, policies)
def test_policies_differ_exactly_where_changes_are_told(before, after):
    told = changes(before, after)
    assert bool(told) == (before != after)
    assert all(change.before != change.after for change in told)
    assert len({change.path for change in told}) == len(told)


def test_whole_numbers_are_told_as_people_write_them_wherever_they_stand():
    tier = Tier(role_id=1, name="Artists", credits=50, weight=2)
    [change] = changes(GuildPolicy(), GuildPolicy(tiers=(tier,)))
    assert change.after is not None
    assert '"credits": 50, "weight": 2,' in change.after
