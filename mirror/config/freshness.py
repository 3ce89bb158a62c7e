"""The section `freshness`: how long answers are believed, and which tags have a time of their own."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Self

from pydantic import BeforeValidator, model_validator

from mirror.config.section import Duration, Section
from mirror.config.units import parse_duration
from mirror.proxy.freshness import IMMUTABLE, FreshnessPolicy
from mirror.proxy.tag_rules import TagGlob, TagRule

_MOST_RULES = 1000
# They are tried one by one with every request.


def _glob(value: object) -> TagGlob:
    if isinstance(value, TagGlob):
        return value
    if not isinstance(value, str):
        raise ValueError('a glob of tags is expected, in quotes where it looks like a number, as "1.20" does')
    return TagGlob(value)


def _kept(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if value is False or value == "false":
        return timedelta()
    try:
        return parse_duration(value)
    except ValueError:
        raise ValueError("expected is false, or for how long what upstream has deleted is kept, such as 30d") from None


def _ttl(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if value == "immutable":
        return IMMUTABLE
    try:
        return parse_duration(value)
    except ValueError as error:
        raise ValueError(f"{error}, or immutable") from None


class TagRuleConfig(Section):
    """Tags that match are believed for this long."""

    match: Annotated[TagGlob, BeforeValidator(_glob)]
    ttl: Annotated[timedelta, BeforeValidator(_ttl)]


class FreshnessConfig(Section):
    """How long answers are believed."""

    tag_ttl: Duration = timedelta(minutes=5)
    tag_rules: tuple[TagRuleConfig, ...] = ()
    stale_while_revalidate: Duration = timedelta(minutes=5)
    stale_if_error: Duration = timedelta(days=7)
    keep_deleted: Annotated[timedelta, BeforeValidator(_kept)] = timedelta()
    negative_ttl: Duration = timedelta(seconds=30)

    @property
    def policy(self) -> FreshnessPolicy:
        """What tags and lists are judged by."""
        rules = tuple(TagRule(rule.match, rule.ttl) for rule in self.tag_rules)
        return FreshnessPolicy(self.tag_ttl, self.stale_if_error, self.stale_while_revalidate, self.keep_deleted, rules)

    @model_validator(mode="after")
    def _every_rule_has_a_say(self) -> Self:
        if len(self.tag_rules) > _MOST_RULES:
            raise ValueError(f"tag_rules: at most {_MOST_RULES} are possible")
        for number, rule in enumerate(self.tag_rules):
            for earlier in range(number):
                if self.tag_rules[earlier].match.covers(rule.match):
                    raise ValueError(f"tag_rules.{number}.match: never matches, as tag_rules.{earlier} matches before")
        return self
