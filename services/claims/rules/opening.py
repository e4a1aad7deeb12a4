"""Claims: live policies taken over at cut-over from an insurer's books, and proven. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import NoReturn
from uuid import UUID

from services.claims.model import (
    Actor,
    ApprovedLoan,
    Assignment,
    Claim,
    EntryState,
    InsuredEntry,
    MasterPolicy,
    Report,
    Standing,
)
from services.claims.rules import claims, policies
from services.kernel.errors import Conflict, NotFound, Refused
from services.kernel.money import Fen, split
from services.kernel.values import replace
from services.programmes import policies as clauses
from services.programmes.schema.insurance import Cover
from services.programmes.schema.values import Open, known
from services.programmes.terms import Terms


@dataclass(frozen=True, slots=True)
class OpeningPolicy:
    """A live master policy, as the insurer has it on the day of cut-over."""

    reference: str
    insurer_id: str
    programme_id: str
    area_code: str
    """Empty for the whole county."""
    covers: tuple[str, ...]
    from_date: date
    until_date: date


@dataclass(frozen=True, slots=True)
class OpeningInsured:
    """An entry of its insured list."""

    reference: str
    insurer_id: str
    policy_reference: str
    loan_id: UUID | None
    household_id: UUID | None
    """Of an entry without a loan."""
    cover_id: str
    """Empty where the policy has only one."""
    sum_insured_fen: Fen
    premium_fen: Fen
    premium_owed_fen: Fen
    from_date: date
    until_date: date


@dataclass(frozen=True, slots=True)
class OpeningAssignment:
    """The household's standing word that payouts of an entry settle its loan first."""

    reference: str
    """The insurer's number of the entry."""
    insurer_id: str
    evidence: str
    from_date: date


@dataclass(frozen=True, slots=True)
class OpeningClaim:
    """A claim that nobody has decided."""

    reference: str
    insurer_id: str
    insured_reference: str
    loss_date: date
    cause: str
    assessed_fen: Fen
    documents: tuple[str, ...]
    reported_on: date


Opening = OpeningPolicy | OpeningInsured | OpeningAssignment | OpeningClaim


@dataclass(frozen=True, slots=True)
class Total:
    """What openings of one insurer come to."""

    policies: int = 0
    insured: int = 0
    sum_insured_fen: int = 0
    premium_fen: int = 0
    premium_owed_fen: int = 0
    assignments: int = 0
    claims: int = 0
    claimed_fen: int = 0

    def plus(self, opening: Opening) -> "Total":
        """With one more."""
        match opening:
            case OpeningPolicy():
                return replace(self, policies=self.policies + 1)
            case OpeningInsured():
                return replace(
                    self,
                    insured=self.insured + 1,
                    sum_insured_fen=self.sum_insured_fen + opening.sum_insured_fen,
                    premium_fen=self.premium_fen + opening.premium_fen,
                    premium_owed_fen=self.premium_owed_fen + opening.premium_owed_fen,
                )
            case OpeningAssignment():
                return replace(self, assignments=self.assignments + 1)
            case OpeningClaim():
                return replace(
                    self,
                    claims=self.claims + 1,
                    claimed_fen=self.claimed_fen + opening.assessed_fen,
                )


@dataclass(frozen=True, slots=True)
class Proof:
    """An insurer's control total, and what was found."""

    insurer_id: str
    given: Total
    found: Total
    so_far: Total

    @property
    def agrees(self) -> bool:
        """To the fen."""
        return self.given == self.found


def prove(
    given: Mapping[str, Total], accepted: Iterable[Opening], before: Mapping[str, Total]
) -> tuple[Proof, ...]:
    """Hold what would come in against the control totals, a proof for each insurer of either."""
    nothing = Total()
    found: dict[str, Total] = {}
    so_far = dict(before)
    for opening in accepted:
        insurer = opening.insurer_id
        found[insurer] = found.get(insurer, nothing).plus(opening)
        so_far[insurer] = so_far.get(insurer, nothing).plus(opening)
    return tuple(
        Proof(
            insurer,
            given.get(insurer, nothing),
            found.get(insurer, nothing),
            so_far.get(insurer, nothing),
        )
        for insurer in sorted({*given, *found})
    )


def check_day(opening_on: date, *, today: date) -> None:
    """Refuse a cut-over after the business date."""
    if opening_on > today:
        _refuse("VALUE_DATE_OUT_OF_RANGE", f"{opening_on} is after {today}", "切换日超出范围")


def opened_already(opening: Opening) -> Conflict:
    """What came in before does not come in again."""
    return Conflict(
        "OPENED_ALREADY",
        f"{opening.reference} of {opening.insurer_id} came in before",
        message_zh="该编号已导入",
    )


def opening_unknown(what: str, reference: str) -> NotFound:
    """The line rests on another that is not there."""
    return NotFound(
        f"{what.upper()}_NOT_OPENED",
        f"no {what} {reference} of this insurer was taken over",
        message_zh="所引用的保单或保险凭证未导入",
    )


def take_over_policy(
    opening: OpeningPolicy, *, county_code: str, policy_id: UUID, terms: Terms, opening_on: date
) -> MasterPolicy:
    """The policy as it stands in our books; it must be one that we would issue, and live."""
    if not opening.from_date <= opening_on <= opening.until_date:
        _refuse(
            "NOT_LIVE",
            f"cover from {opening.from_date} to {opening.until_date}, cut-over on {opening_on}",
            "切换日保单不在有效期内",
        )
    policy = MasterPolicy(
        county_code=county_code,
        policy_id=policy_id,
        insurer_id=opening.insurer_id,
        programme_id=opening.programme_id,
        programme=terms.ref,
        area_code=opening.area_code or county_code,
        covers=tuple(sorted(set(opening.covers))),
        from_date=opening.from_date,
        until_date=opening.until_date,
    )
    policies.check_policy(policy, terms)
    return policy


@dataclass(frozen=True, slots=True)
class Behind:
    """Whom an entry insures: a household in its place, and the loan if it stands behind one."""

    household_id: UUID
    area_code: str
    loan: ApprovedLoan | None


def cover_of(opening: OpeningInsured, policy: MasterPolicy) -> str:
    """The cover of an entry; it must be one of the policy's."""
    if not opening.cover_id and len(policy.covers) == 1:
        return policy.covers[0]
    if opening.cover_id not in policy.covers:
        _refuse(
            "COVER_NOT_IN_POLICY",
            f"the policy covers {', '.join(policy.covers)}, not {opening.cover_id or 'none'}",
            "保单不含该险种",
        )
    return opening.cover_id


def take_over_insured(
    opening: OpeningInsured,
    *,
    policy: MasterPolicy,
    behind: Behind,
    insured_id: UUID,
    terms: Terms,
    opening_on: date,
) -> tuple[InsuredEntry, Mapping[str, Fen]]:
    """The entry with the insurer's own sum and premium, and who owes it by the pack."""
    _check_place(opening, policy, behind, opening_on)
    if opening.premium_owed_fen > opening.premium_fen:
        _refuse(
            "OWED_ABOVE_PREMIUM",
            f"{opening.premium_owed_fen} fen owed of {opening.premium_fen}",
            "欠缴保费超过保费",
        )
    cover = terms.cover(cover_of(opening, policy))
    parts = _parts(opening, policy, cover, terms)
    first = next(iter(parts), "")
    entry = InsuredEntry(
        county_code=policy.county_code,
        insured_id=insured_id,
        policy_id=policy.policy_id,
        household_id=behind.household_id,
        loan_id=behind.loan.loan_id if behind.loan else None,
        cover_id=cover.id,
        sum_insured_fen=opening.sum_insured_fen,
        premium_fen=opening.premium_fen,
        premium_payer_id=policies.payer_id(first, policy, behind.household_id) if first else "",
        from_date=opening.from_date,
        until_date=opening.until_date,
        term_until=opening.until_date,
        state=EntryState.WAITING,
        version=0,
    )
    return entry, parts


def _check_place(
    opening: OpeningInsured, policy: MasterPolicy, behind: Behind, opening_on: date
) -> None:
    if behind.loan is not None and behind.loan.programme_id != policy.programme_id:
        _refuse(
            "LOAN_OF_ANOTHER_PROGRAMME",
            f"the loan is of {behind.loan.programme_id}, the policy of {policy.programme_id}",
            "贷款不属于该方案",
        )
    if not behind.area_code.startswith(policy.area_code):
        _refuse(
            "OUTSIDE_POLICY_AREA",
            f"{behind.area_code} is outside the policy's {policy.area_code}",
            "该户不在保单承保区域",
        )
    if not policy.from_date <= opening.from_date <= opening.until_date <= policy.until_date:
        _refuse(
            "OUTSIDE_POLICY",
            f"{opening.from_date} to {opening.until_date} is not within {policy.from_date} to"
            f" {policy.until_date}",
            "保险期间超出保单期间",
        )
    if not opening.from_date <= opening_on <= opening.until_date:
        _refuse("NOT_LIVE", f"cut-over on {opening_on}", "切换日不在保险期间内")


def _parts(
    opening: OpeningInsured, policy: MasterPolicy, cover: Cover, terms: Terms
) -> Mapping[str, Fen]:
    """Who owes the premium of an entry, by the programme."""
    if not opening.premium_fen:
        return {}
    if isinstance(cover.premium, Open) or policies.on_lending(terms.insurance, cover.id):
        _refuse(
            "PREMIUM_PAYER_UNKNOWN",
            f"{terms.ref} does not say who pays for an entry of {cover.id}",
            "缴费方未知",
        )
    clause = known(cover.premium)
    return clauses.premium_parts(clause, opening.premium_fen)


def paid_parts(parts: Mapping[str, Fen], paid_fen: Fen) -> Mapping[str, Fen]:
    """What each payer had paid before, in proportion to what each owed."""
    if not paid_fen:
        return {}
    shares = split(paid_fen, list(parts.values()))
    return dict(zip(parts, shares, strict=True))


def take_over_assignment(
    opening: OpeningAssignment,
    *,
    entry: InsuredEntry,
    loan: ApprovedLoan | None,
    assignment_id: UUID,
    opening_on: date,
) -> Assignment:
    """The assignment as it stands; it held before the day of cut-over."""
    if loan is None:
        raise Refused(
            "ASSIGNEE_WITHOUT_LOAN",
            f"{opening.reference} stands behind no loan",
            message_zh="无贷款,不能转让保险权益",
        )
    if opening.from_date > opening_on:
        _refuse("NOT_LIVE", f"from {opening.from_date}, cut-over on {opening_on}", "授权尚未生效")
    return Assignment(
        county_code=entry.county_code,
        assignment_id=assignment_id,
        household_id=entry.household_id,
        cover_id=entry.cover_id,
        loan_id=loan.loan_id,
        lender_id=loan.lender_id,
        evidence=opening.evidence,
        from_date=opening.from_date,
    )


def take_over_claim(
    opening: OpeningClaim,
    *,
    standing: Standing,
    terms: Terms,
    reporter: Actor,
    claim_id: UUID,
    opening_on: date,
) -> Claim:
    """The claim as it waits: a loss within the entry's term, with its documents."""
    # Its insurer took the claim in: whether it wants the premium first was decided then.
    entry = replace(standing.entry, state=EntryState.IN_FORCE)
    standing = replace(standing, entry=entry)
    claims.choose_entry([standing], opening.loss_date)
    if not opening.loss_date <= opening.reported_on <= opening_on:
        _refuse(
            "VALUE_DATE_OUT_OF_RANGE",
            f"reported on {opening.reported_on}, lost on {opening.loss_date}, cut-over on"
            f" {opening_on}",
            "报案日期有误",
        )
    report = Report(
        household_id=entry.household_id,
        cover_id=entry.cover_id,
        loss_date=opening.loss_date,
        cause=opening.cause,
        assessed_fen=opening.assessed_fen,
        documents=opening.documents,
    )
    claim = claims.report(
        report,
        standing,
        terms.cover(entry.cover_id),
        reporter=reporter,
        on=opening.reported_on,
        claim_id=claim_id,
    )
    return replace(claim, due_on=claims.expected_due_on(claim, terms))


def _refuse(reason: str, message: str, message_zh: str) -> NoReturn:
    raise Refused(reason, message, message_zh=message_zh)
