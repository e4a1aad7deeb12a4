"""Registry: who signs, which papers are missing, what a status does, and whom a ratio counts."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from services.kernel.errors import Refused
from services.programmes.schema.pack import Eligibility
from services.programmes.schema.registry import (
    Coverage,
    Documents,
    Linkage,
    MutualHelpGroup,
    RemoteAuthority,
    Signatories,
    StatusEvent,
)
from services.programmes.schema.values import known


@dataclass(frozen=True, slots=True)
class Complete:
    """Whether all that is asked for is there, and what is not."""

    complete: bool
    missing: tuple[str, ...]
    working: str


@dataclass(frozen=True, slots=True)
class Allowed:
    """Whether something may be, and why not."""

    allowed: bool
    reason: str | None
    working: str


@dataclass(frozen=True, slots=True)
class Covered:
    """A coverage ratio as its two counts; nobody rounds it."""

    numerator: int
    denominator: int
    working: str


def signed(rule: Signatories, signers: Collection[str]) -> Complete:
    """Enough of the named people signed; `authorised` says who may sign from afar."""
    present = [who for who in rule.among if who in signers]
    short = max(0, rule.required - len(present))
    missing = tuple(who for who in rule.among if who not in present)[:short]
    return Complete(not short, missing, f"{len(present)} of {rule.required} signed")


def authorised(rule: RemoteAuthority, by: str, evidence: Collection[str]) -> Complete:
    """Authority from afar: by somebody who may give it, with every piece of its evidence."""
    if by not in rule.by:
        return Complete(False, (), f"{by} may not authorise from afar")
    missing = tuple(piece for piece in rule.evidence if piece not in evidence)
    said = f"{len(rule.evidence) - len(missing)} of {len(rule.evidence)} pieces of evidence"
    return Complete(not missing, missing, said)


def papers(rule: Documents, given: Collection[str]) -> Complete:
    """The papers still missing; anything more than the list was not to be asked for."""
    required = known(rule.required)
    missing = tuple(paper for paper in required if paper not in given)
    return Complete(not missing, missing, f"{len(required) - len(missing)} of {len(required)}")


def status_effects(events: Sequence[StatusEvent], status: str) -> tuple[str, ...]:
    """What a new registration status does to the household's loans."""
    return next((event.effects for event in events if event.id == status), ())


def reconciled(event: StatusEvent, signed_by: Collection[str]) -> Complete:
    """A status event's loans are reconciled once every named organ has signed."""
    missing = tuple(organ.value for organ in event.signed_by if organ.value not in signed_by)
    return Complete(not missing, missing, f"{len(event.signed_by) - len(missing)} signatures")


def mode_allowed(linkage: Linkage, mode: str) -> Allowed:
    """Only the named ways of using a loan or joining an entity are allowed; some may be open."""
    names = [each.mode for each in known(linkage.modes)]
    if mode not in names and linkage.count is not None and linkage.count > len(names):
        raise Refused(
            "PROGRAMME_VALUE_OPEN",
            f"{linkage.count} modes are counted and {len(names)} named; {mode} is none of these",
            message_zh=f"方案共有 {linkage.count} 种模式,仅列明 {len(names)} 种",
            facts={"key": "registry.linkage.modes"},
        )
    said = f"{mode} against {', '.join(names)}"
    return Allowed(mode in names, None if mode in names else "mode_not_listed", said)


def same_person(rule: Eligibility, *, borrower: str, user: str, repayer: str) -> Allowed:
    """Where the programme says so, who borrows uses the money and repays it."""
    one = borrower == user == repayer
    if one or not rule.borrower_uses_and_repays:
        return Allowed(True, None, "one person" if one else "not asked for")
    reason = "used_by_another" if user != borrower else "repaid_by_another"
    return Allowed(False, reason, f"borrower {borrower}, user {user}, repayer {repayer}")


def mutual_help(
    rule: MutualHelpGroup, lead_indicators: Mapping[str, int], member_ages: Sequence[int]
) -> Allowed:
    """A lead household that holds everything asked of it, and older members, not too many."""
    lacking = [code for code in rule.lead if lead_indicators.get(code, 0) < 1]
    if lacking:
        return Allowed(False, "lead_lacks", f"the lead lacks {', '.join(lacking)}")
    if not member_ages or len(member_ages) > known(rule.max_members):
        return Allowed(False, "member_count", f"{len(member_ages)} members")
    if young := [age for age in member_ages if age < known(rule.member_min_age)]:
        return Allowed(False, "member_too_young", f"{len(young)} members are not old enough")
    return Allowed(True, None, f"a lead and {len(member_ages)} members")


def covered(
    rule: Coverage | None, households: Mapping[str, int], served: Mapping[str, int]
) -> Covered:
    """Served of all, by registration kind, without the kinds that the programme leaves out."""
    out = set(rule.excludes) if rule else set[str]()
    numerator = sum(count for kind, count in served.items() if kind not in out)
    denominator = sum(count for kind, count in households.items() if kind not in out)
    without = f" without {', '.join(sorted(out))}" if out else ""
    return Covered(numerator, denominator, f"{numerator} of {denominator}{without}")
