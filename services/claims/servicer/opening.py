"""Claims over gRPC: live policies taken over at cut-over."""

from collections.abc import Sequence
from dataclasses import asdict

from liandong.claims.v1 import records_pb2, records_pb2_grpc
from liandong.common.v1 import common_pb2
from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims.operations import opening
from services.claims.operations.opening import Cutover, Outcome, Wanted
from services.claims.rules.opening import (
    OpeningAssignment,
    OpeningClaim,
    OpeningInsured,
    OpeningPolicy,
    Proof,
    Total,
)
from services.claims.servicer.shared import admit
from services.kernel import wire
from services.kernel.database import Database
from services.kernel.errors import invalid_field
from services.kernel.idempotency import once
from services.kernel.ids import parse_id
from services.kernel.money import Fen
from services.kernel.rpc import Context
from services.programmes.loader import Catalogue

CUTTERS = ("county_centre",)


def _policy(place: int, item: records_pb2.OpeningPolicy) -> OpeningPolicy:
    path = f"policies[{place}]."
    return OpeningPolicy(
        reference=item.reference,
        insurer_id=item.insurer_id,
        programme_id=item.programme_id,
        area_code=item.area_code,
        covers=(item.cover_id, *item.more_cover_ids),
        from_date=wire.date_from_proto(f"{path}from_date", item.from_date),
        until_date=wire.date_from_proto(f"{path}until_date", item.until_date),
    )


def _insured(place: int, item: records_pb2.OpeningInsured) -> OpeningInsured:
    path = f"insured[{place}]."
    if bool(item.loan_id) == bool(item.household_id):
        rule = "must be named by its loan or, without one, by its household"
        raise invalid_field("INSURED_UNNAMED", f"{path}loan_id", item.loan_id, rule)
    return OpeningInsured(
        reference=item.reference,
        insurer_id=item.insurer_id,
        policy_reference=item.policy_reference,
        loan_id=parse_id(f"{path}loan_id", item.loan_id) if item.loan_id else None,
        household_id=(
            parse_id(f"{path}household_id", item.household_id) if item.household_id else None
        ),
        cover_id=item.cover_id,
        sum_insured_fen=Fen(item.sum_insured_fen),
        premium_fen=Fen(item.premium_fen),
        premium_owed_fen=Fen(item.premium_owed_fen),
        from_date=wire.date_from_proto(f"{path}from_date", item.from_date),
        until_date=wire.date_from_proto(f"{path}until_date", item.until_date),
    )


def _assignment(place: int, item: records_pb2.OpeningAssignment) -> OpeningAssignment:
    return OpeningAssignment(
        reference=item.insured_reference,
        insurer_id=item.insurer_id,
        evidence=item.evidence,
        from_date=wire.date_from_proto(f"assignments[{place}].from_date", item.from_date),
    )


def _claim(place: int, item: records_pb2.OpeningClaim) -> OpeningClaim:
    path = f"claims[{place}]."
    return OpeningClaim(
        reference=item.reference,
        insurer_id=item.insurer_id,
        insured_reference=item.insured_reference,
        loss_date=wire.date_from_proto(f"{path}loss_date", item.loss_date),
        cause=item.cause,
        assessed_fen=Fen(item.assessed_fen),
        documents=tuple(item.documents),
        reported_on=wire.date_from_proto(f"{path}reported_on", item.reported_on),
    )


def _control(totals: Sequence[records_pb2.OpeningPoliciesTotal]) -> dict[str, Total]:
    given: dict[str, Total] = {}
    for place, total in enumerate(totals):
        if total.insurer_id in given:
            field = f"control_totals[{place}].insurer_id"
            raise invalid_field("INSURER_TWICE", field, total.insurer_id, "must be named once")
        given[total.insurer_id] = Total(
            policies=total.policies,
            insured=total.insured,
            sum_insured_fen=total.sum_insured_fen,
            premium_fen=total.premium_fen,
            premium_owed_fen=total.premium_owed_fen,
            assignments=total.assignments,
            claims=total.claims,
            claimed_fen=total.claimed_fen,
        )
    return given


def _total_to_proto(insurer_id: str, total: Total) -> records_pb2.OpeningPoliciesTotal:
    return records_pb2.OpeningPoliciesTotal(insurer_id=insurer_id, **asdict(total))


def _proof_to_proto(proof: Proof) -> records_pb2.OpeningPoliciesProof:
    return records_pb2.OpeningPoliciesProof(
        given=_total_to_proto(proof.insurer_id, proof.given),
        found=_total_to_proto(proof.insurer_id, proof.found),
        so_far=_total_to_proto(proof.insurer_id, proof.so_far),
        agrees=proof.agrees,
    )


def _verdicts(outcomes: Sequence[Outcome], *, landed: bool) -> list[common_pb2.Verdict]:
    return [
        wire.verdict_of(place, outcome, lambda made: made if landed else "")
        for place, outcome in enumerate(outcomes)
    ]


class OpeningDoor(records_pb2_grpc.RecordsServiceServicer):
    """What insurers had in force before us."""

    _database: Database
    _catalogue: Catalogue

    async def ImportOpeningPolicies(
        self, request: records_pb2.ImportOpeningPoliciesRequest, context: Context
    ) -> records_pb2.ImportOpeningPoliciesResponse:
        """Take over what is in force."""
        caller = admit(context, CUTTERS, request.county_code)
        cutover = Cutover(
            county_code=request.county_code,
            opening_on=wire.date_from_proto("opening_on", request.opening_on),
            dry_run=request.dry_run,
        )
        wanted = Wanted(
            policies=[_policy(place, item) for place, item in enumerate(request.policies)],
            insured=[_insured(place, item) for place, item in enumerate(request.insured)],
            assignments=[
                _assignment(place, item) for place, item in enumerate(request.assignments)
            ],
            claims=[_claim(place, item) for place, item in enumerate(request.claims)],
            control=_control(request.control_totals),
        )

        async def work(session: AsyncSession) -> records_pb2.ImportOpeningPoliciesResponse:
            done = await opening.import_openings(session, self._catalogue, caller, cutover, wanted)
            return records_pb2.ImportOpeningPoliciesResponse(
                landed=done.landed,
                policies=_verdicts(done.policies, landed=done.landed),
                insured=_verdicts(done.insured, landed=done.landed),
                assignments=_verdicts(done.assignments, landed=done.landed),
                claims=_verdicts(done.claims, landed=done.landed),
                proofs=[_proof_to_proto(proof) for proof in done.proofs],
            )

        return await once(
            self._database, caller, request, records_pb2.ImportOpeningPoliciesResponse, work
        )
