"""Claims: who joins an insured list, what endorsements change, what of a premium goes back."""

from collections.abc import Mapping
from datetime import date, timedelta
from uuid import UUID

from services.claims.model import (
    ApprovedLoan,
    Change,
    EntryState,
    Household,
    InsuredEntry,
    Line,
    MasterPolicy,
)
from services.claims.rules import policies as rules
from services.kernel.errors import Refused, invalid_field
from services.kernel.money import Fen, split
from services.kernel.values import replace
from services.programmes import covers, policies
from services.programmes.schema.insurance import Cover, SumInsuredFixed, SumInsuredStated
from services.programmes.terms import Terms


def join(
    loan: ApprovedLoan,
    policy: MasterPolicy,
    cover: Cover,
    terms: Terms,
    *,
    on: date,
    insured_id: UUID,
) -> tuple[InsuredEntry, Mapping[str, Fen]]:
    """Put a loan's household on a policy's list from a day on; and who owes its premium."""
    sum_fen = covers.sum_insured_fen(rules.sum_rule(cover), loan_principal_fen=loan.principal_fen)
    return _entry(
        policy,
        cover,
        terms,
        insured_id=insured_id,
        household_id=loan.household_id,
        member_id=None,
        loan_id=loan.loan_id,
        sum_fen=sum_fen,
        from_date=max(policy.from_date, on),
    )


def _entry(
    policy: MasterPolicy,
    cover: Cover,
    terms: Terms,
    *,
    insured_id: UUID,
    household_id: UUID,
    member_id: UUID | None,
    loan_id: UUID | None,
    sum_fen: Fen,
    from_date: date,
) -> tuple[InsuredEntry, Mapping[str, Fen]]:
    parts = rules.premium_of(
        policy,
        cover,
        terms.insurance,
        sum_fen,
        from_date=from_date,
        term_until=policy.until_date,
    )
    first = next(iter(parts), "")
    entry = InsuredEntry(
        county_code=policy.county_code,
        insured_id=insured_id,
        policy_id=policy.policy_id,
        household_id=household_id,
        member_id=member_id,
        loan_id=loan_id,
        cover_id=cover.id,
        sum_insured_fen=sum_fen,
        premium_fen=rules.total(parts),
        premium_payer_id=rules.payer_id(first, policy, household_id) if first else "",
        from_date=from_date,
        until_date=policy.until_date,
        term_until=policy.until_date,
        state=EntryState.WAITING,
        version=0,
    )
    return entry, parts


def premium_of_entry(
    entry: InsuredEntry, policy: MasterPolicy, cover: Cover, terms: Terms, sum_fen: Fen
) -> Mapping[str, Fen]:
    """What a sum costs an entry for its term, by who owes it."""
    return rules.premium_of(
        policy,
        cover,
        terms.insurance,
        sum_fen,
        from_date=entry.from_date,
        term_until=entry.term_until,
    )


def needs_payment(terms: Terms, entry: InsuredEntry) -> bool:
    """Whether the entry comes into force only once its premium is paid."""
    return terms.insurance.premium_due == "before_cover" and entry.premium_fen > 0


def enrol(
    line: Line,
    policy: MasterPolicy,
    terms: Terms,
    *,
    household: Household | None,
    loan: ApprovedLoan | None,
    today: date,
    insured_id: UUID,
) -> tuple[InsuredEntry, Mapping[str, Fen]]:
    """An entry of a line, or the refusal of it."""
    if household is None:
        raise Refused(
            "HOUSEHOLD_UNKNOWN", f"no household {line.household_id}", message_zh="无此农户"
        )
    if not household.area_code.startswith(policy.area_code):
        raise Refused(
            "OUTSIDE_POLICY_AREA",
            f"{household.area_code} is outside the policy's {policy.area_code}",
            message_zh="该户不在保单承保区域",
        )
    if line.cover_id not in policy.covers:
        raise Refused(
            "COVER_NOT_IN_POLICY",
            f"the policy covers {', '.join(policy.covers)}, not {line.cover_id}",
            message_zh="保单不含该险种",
        )
    if line.loan_id is not None and (loan is None or loan.household_id != line.household_id):
        raise Refused(
            "LOAN_NOT_OF_HOUSEHOLD",
            f"{line.loan_id} is no open loan of the household",
            message_zh="该户无此在贷贷款",
        )
    cover = terms.cover(line.cover_id)
    return _entry(
        policy,
        cover,
        terms,
        insured_id=insured_id,
        household_id=line.household_id,
        member_id=line.member_id,
        loan_id=line.loan_id,
        sum_fen=_line_sum(line, cover, loan),
        from_date=_first_day(line, policy, today),
    )


def _first_day(line: Line, policy: MasterPolicy, today: date) -> date:
    first = line.from_date or max(policy.from_date, today)
    if first < today:
        raise Refused(
            "JOIN_IN_THE_PAST",
            f"cover cannot begin on {first}, before the business date {today}",
            message_zh="起保日不得早于当日",
        )
    if not policy.from_date <= first <= policy.until_date:
        raise Refused(
            "JOIN_OUTSIDE_TERM",
            f"{first} is outside {policy.from_date} to {policy.until_date}",
            message_zh="起保日不在保险期间内",
        )
    return first


def _line_sum(line: Line, cover: Cover, loan: ApprovedLoan | None) -> Fen:
    rule = rules.sum_rule(cover)
    if isinstance(rule, SumInsuredStated):
        if not line.stated_fen:
            raise _sum_missing(f"each line of {cover.id} states its sum insured")
        return line.stated_fen
    if not isinstance(rule, SumInsuredFixed) and loan is None:
        raise _sum_missing(f"the sum of {cover.id} is of a loan, and the line names none")
    sum_fen = covers.sum_insured_fen(rule, loan_principal_fen=loan.principal_fen if loan else None)
    if line.stated_fen not in (0, sum_fen):
        raise _sum_fixed(cover.id, sum_fen, line.stated_fen)
    return sum_fen


def _sum_missing(why: str) -> Refused:
    return Refused("SUM_INSURED_MISSING", why, message_zh="未填写保额")


def _sum_fixed(cover_id: str, sum_fen: Fen, stated_fen: Fen) -> Refused:
    return Refused(
        "SUM_INSURED_FIXED",
        f"the sum of {cover_id} is {sum_fen} fen, not {stated_fen}",
        message_zh="保额由方案规定,不可另定",
    )


def already_insured(line: Line) -> Refused:
    """Nobody is twice on a list for one cover."""
    return Refused(
        "ALREADY_INSURED",
        f"{line.household_id} is on the list for {line.cover_id} already",
        message_zh="该对象已在承保清单内",
    )


def change(
    entry: InsuredEntry, wanted: Change, policy: MasterPolicy, terms: Terms, today: date
) -> tuple[InsuredEntry, Mapping[str, Fen]]:
    """The entry after an endorsement, and what each payer owes more (below 0: gets back)."""
    if entry.state in (EntryState.OVER, EntryState.CANCELLED) or entry.left:
        raise Refused(
            "ENTRY_OVER", f"the entry ends on {entry.until_date}", message_zh="该承保已终止"
        )
    if wanted.effective_on < today:
        raise Refused(
            "ENDORSEMENT_IN_THE_PAST",
            f"{wanted.effective_on} is before the business date {today}",
            message_zh="批改生效日不得早于当日",
        )
    if wanted.effective_on > entry.until_date:
        raise Refused(
            "ENDORSEMENT_OUTSIDE_TERM",
            f"{wanted.effective_on} is after the term's end {entry.until_date}",
            message_zh="批改生效日超出保险期间",
        )
    if wanted.leaves:
        return leave(entry, policy, terms, last_day=wanted.effective_on)
    return _change_sum(entry, wanted, policy, terms, today)


def leave(
    entry: InsuredEntry, policy: MasterPolicy, terms: Terms, *, last_day: date
) -> tuple[InsuredEntry, Mapping[str, Fen]]:
    """The entry ended on a day, and its unearned premium; one that never began is cancelled."""
    cover = terms.cover(entry.cover_id)
    parts = premium_of_entry(entry, policy, cover, terms, entry.sum_insured_fen)
    if last_day < entry.from_date:
        gone = replace(entry, state=EntryState.CANCELLED)
        return gone, _back(parts, entry, from_day=entry.from_date, terms=terms)
    after = replace(entry, until_date=min(entry.until_date, last_day))
    back = _back(parts, entry, from_day=after.until_date + timedelta(days=1), terms=terms)
    return after, back


def _back(
    parts: Mapping[str, Fen], entry: InsuredEntry, *, from_day: date, terms: Terms
) -> Mapping[str, Fen]:
    return {
        payer: Fen(-amount)
        for payer, amount in _unearned(parts, entry, from_day=from_day, terms=terms).items()
    }


def _unearned(
    parts: Mapping[str, Fen], entry: InsuredEntry, *, from_day: date, terms: Terms
) -> Mapping[str, Fen]:
    """What of a whole term's premium belongs to the days from one on, divided as it was owed."""
    days = (entry.term_until - entry.from_date).days + 1
    left = (entry.until_date - from_day).days + 1
    whole = rules.total(parts)
    refund = terms.insurance.premium_refund
    unearned = policies.unearned_fen(whole, days_left=max(0, left), days=days, refund=refund)
    if not whole:
        return {}
    amounts = split(unearned, list(parts.values()))
    return dict(zip(parts, amounts, strict=True))


def _change_sum(
    entry: InsuredEntry, wanted: Change, policy: MasterPolicy, terms: Terms, today: date
) -> tuple[InsuredEntry, Mapping[str, Fen]]:
    cover = terms.cover(entry.cover_id)
    if not rules.is_stated(cover):
        raise _sum_fixed(cover.id, entry.sum_insured_fen, wanted.sum_insured_fen)
    if not wanted.sum_insured_fen:
        raise _sum_missing("the new sum insured must be said")
    if wanted.effective_on != today:
        rule = f"a new sum holds from the business date {today}"
        raise invalid_field("ENDORSEMENT_AHEAD", "effective_on", wanted.effective_on, rule)
    before = premium_of_entry(entry, policy, cover, terms, entry.sum_insured_fen)
    after = premium_of_entry(entry, policy, cover, terms, wanted.sum_insured_fen)
    day = max(today, entry.from_date)
    old = _unearned(before, entry, from_day=day, terms=terms)
    new = _unearned(after, entry, from_day=day, terms=terms)
    more = {payer: Fen(new[payer] - old.get(payer, 0)) for payer in new}
    changed = replace(
        entry,
        sum_insured_fen=wanted.sum_insured_fen,
        premium_fen=rules.total(after),
    )
    return changed, more


def renew(
    old: InsuredEntry, policy: MasterPolicy, terms: Terms, *, today: date, insured_id: UUID
) -> tuple[InsuredEntry, Mapping[str, Fen]]:
    """The entry that follows on one of the policy before, for the same sum."""
    return _entry(
        policy,
        terms.cover(old.cover_id),
        terms,
        insured_id=insured_id,
        household_id=old.household_id,
        member_id=old.member_id,
        loan_id=old.loan_id,
        sum_fen=old.sum_insured_fen,
        from_date=max(policy.from_date, today),
    )
