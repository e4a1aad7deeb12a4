"""Loans over gRPC: what all its methods share: who acts, an application, a loan for the wire."""

from collections.abc import Callable

from liandong.loans.v1 import loans_pb2, loans_pb2_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import wire
from services.kernel.caller import Caller
from services.kernel.database import Database
from services.kernel.errors import Denied, NotFound
from services.kernel.ids import parse_id
from services.kernel.money import Fen
from services.loans import store
from services.loans.model import Document, Loan, LoanState, Project, Stated
from services.loans.rules.chain import LENDER_ROLES, Actor, chain
from services.programmes.loader import Catalogue


def actor_of(caller: Caller) -> Actor:
    """Who acts; the call names the person."""
    return Actor(caller.institution_id, caller.role, caller.require_person())


def require_county(caller: Caller, county_code: str) -> None:
    """Refuse another county: an institution without areas of its own has all of its county."""
    if caller.county_code not in ("000000", county_code):
        raise Denied(
            "AREA_NOT_YOURS",
            f"{caller.institution_id} may not act in {county_code}",
            message_zh="超出本机构辖区",
        )


def scope_of(caller: Caller, county_code: str) -> tuple[list[str], str]:
    """What a caller sees of a county: areas, and the lender when it is one."""
    lender_id = caller.institution_id if caller.role in LENDER_ROLES else ""
    return list(caller.areas) or [county_code], lender_id


def tier_to_proto(tier: str) -> "loans_pb2.FiveTierClass.ValueType":
    """A class for the wire; unspecified for none."""
    return loans_pb2.FiveTierClass.Value(f"FIVE_TIER_CLASS_{tier.upper() or 'UNSPECIFIED'}")


def tier_of(asked: "loans_pb2.FiveTierClass.ValueType") -> str:
    """A class from the wire."""
    return loans_pb2.FiveTierClass.Name(asked).removeprefix("FIVE_TIER_CLASS_").lower()


def loan_to_proto(loan: Loan) -> loans_pb2.Loan:
    """A loan for the wire."""
    return loans_pb2.Loan(
        loan_id=str(loan.loan_id),
        county_code=loan.county_code,
        household_id=str(loan.household_id),
        area_code=loan.area_code,
        lender_id=loan.lender_id,
        programme=loan.programme,
        product_id=loan.product_id,
        borrower_class=loan.borrower_class,
        state=loans_pb2.LoanState.Value(f"LOAN_STATE_{loan.state.name}"),
        next_step=loan.next_step,
        refusal_reasons=loan.refusal_reasons,
        principal_fen=loan.principal_fen,
        term_months=loan.term_months,
        rate_ppm=loan.rate_ppm,
        disbursed_on=wire.date_to_proto(loan.disbursed_on),
        matures_on=wire.date_to_proto(loan.matures_on),
        outstanding_fen=loan.outstanding_fen,
        interest_fen=loan.owed_fen - loan.outstanding_fen,
        overdue_days=loan.overdue_days,
        five_tier_class=tier_to_proto(loan.five_tier_class),
        non_performing=loan.non_performing_on is not None,
        subrogated_fen=loan.subrogated_fen,
        covers_missing=loan.covers_missing,
        sla_due_on=wire.date_to_proto(loan.sla_due_on),
        suspense_fen=loan.suspense_fen,
        next_due_on=wire.date_to_proto(loan.next_due_on),
        undrawn_fen=loan.undrawn_fen,
        revolving_until=wire.date_to_proto(loan.revolving_until),
    )


def stated_from(message: loans_pb2.Particulars, path: str = "particulars.") -> Stated:
    """What an application states besides the amount."""
    project = None
    if message.HasField("project"):
        project = Project(
            project_id=message.project.project_id,
            grade=message.project.grade,
            library_levels=tuple(message.project.library_levels),
            whitelisted=message.project.whitelisted,
        )
    return Stated(
        channel=message.channel,
        identity_proof=message.identity_proof,
        documents=tuple(Document(each.kind, each.evidence) for each in message.documents),
        authorised_by=message.authorised_by,
        authority_evidence=tuple(message.authority_evidence),
        signatories=tuple(message.signatories),
        project=project,
        use_mode=message.use_mode,
        conduct=tuple(message.conduct),
        user_id=parse_id(f"{path}user_id", message.user_id) if message.user_id else None,
        repayer_id=parse_id(f"{path}repayer_id", message.repayer_id)
        if message.repayer_id
        else None,
        production_cycle_months=message.production_cycle_months,
        proposed_rate_ppm=message.proposed_rate_ppm,
        settlement=message.settlement,
        funding=message.funding,
        standing=message.standing,
        birth_date=wire.date_from_proto(f"{path}birth_date", message.birth_date)
        if message.HasField("birth_date")
        else None,
        facts=tuple((each.code, each.holds) for each in message.facts),
        fees=tuple((each.code, Fen(each.amount_fen)) for each in message.fees),
        members=tuple(parse_id(f"{path}member_ids", each) for each in message.member_ids),
        guarantor_id=message.guarantor_id,
    )


def stated_to_proto(stated: Stated) -> loans_pb2.Particulars:
    """The same for the wire."""
    message = loans_pb2.Particulars(
        channel=stated.channel,
        identity_proof=stated.identity_proof,
        documents=[
            loans_pb2.Document(kind=each.kind, evidence=each.evidence) for each in stated.documents
        ],
        authorised_by=stated.authorised_by,
        authority_evidence=stated.authority_evidence,
        signatories=stated.signatories,
        use_mode=stated.use_mode,
        conduct=stated.conduct,
        user_id=str(stated.user_id or ""),
        repayer_id=str(stated.repayer_id or ""),
        production_cycle_months=stated.production_cycle_months,
        proposed_rate_ppm=stated.proposed_rate_ppm,
        settlement=stated.settlement,
        funding=stated.funding,
        standing=stated.standing,
        birth_date=wire.date_to_proto(stated.birth_date),
        facts=[loans_pb2.Fact(code=code, holds=holds) for code, holds in stated.facts],
        fees=[loans_pb2.Fee(code=code, amount_fen=amount) for code, amount in stated.fees],
        member_ids=[str(each) for each in stated.members],
        guarantor_id=stated.guarantor_id,
    )
    if stated.project is not None:
        message.project.CopyFrom(
            loans_pb2.Project(
                project_id=stated.project.project_id,
                grade=stated.project.grade,
                library_levels=stated.project.library_levels,
                whitelisted=stated.project.whitelisted,
            )
        )
    return message


async def own_loan(
    session: AsyncSession,
    county_code: str,
    loan_id: str,
    caller: Caller,
    *,
    asked: Callable[[Loan], bool] = lambda loan: False,
) -> Loan:
    """One loan that the caller may see; another's is as good as none, unless it is `asked`."""
    loan = await store.find_loan(session, county_code, parse_id("loan_id", loan_id))
    foreign = loan is not None and (
        not caller.may_act_in(loan.area_code)
        or (
            caller.role in LENDER_ROLES
            and caller.institution_id != loan.lender_id
            and not asked(loan)
        )
    )
    if loan is None or foreign:
        raise NotFound("LOAN_NOT_FOUND", f"no loan {loan_id}", message_zh="无此贷款")
    return loan


class OwnLoans(loans_pb2_grpc.LoansServiceServicer):
    """What a door that shows single loans stands on: the database, the programmes."""

    _database: Database
    _catalogue: Catalogue

    async def _own_loan(
        self, county_code: str, loan_id: str, caller: Caller, *, for_its_step: bool = False
    ) -> Loan:
        """A loan that the caller may see; with `for_its_step` who has a step of its chain may."""

        def asked(loan: Loan) -> bool:
            return for_its_step and self._has_a_step(loan, caller)

        async with self._database.transaction(institution_id=caller.institution_id) as session:
            return await own_loan(session, county_code, loan_id, caller, asked=asked)

    def _has_a_step(self, loan: Loan, caller: Caller) -> bool:
        """Whether an insurer that does not lend is asked about an application (SMX.loa.1)."""
        terms = self._catalogue.terms(loan.county_code, loan.programme)
        steps = chain(terms.product(loan.product_id))
        deciding = loan.state in (LoanState.IN_REVIEW, LoanState.AWAITING_COVER)
        return deciding and any(step.organ.value == caller.role for step in steps)
