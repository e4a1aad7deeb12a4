"""Claims over gRPC: policies renewed and ended, their lists, and certificates."""

from liandong.claims.v1 import policies_pb2, policies_pb2_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims.model import Change, Endorsement, InsuredEntry, Line
from services.claims.operations import insured, policies
from services.claims.operations.insured import CertificateLine, PolicyView
from services.claims.rules.policies import cap_fen
from services.claims.servicer.policies import ISSUERS
from services.claims.servicer.products import parts_to_proto
from services.claims.servicer.shared import (
    FIRST,
    READERS,
    admit,
    after_of,
    optional_date,
    optional_id,
)
from services.kernel import business_day, wire
from services.kernel.database import Database
from services.kernel.idempotency import once
from services.kernel.ids import parse_id
from services.kernel.money import Fen
from services.kernel.rpc import Context
from services.programmes.loader import Catalogue

CARRIED = 500
ENROLLERS = ("insurer", "county_centre")


def view_to_proto(view: PolicyView) -> policies_pb2.MasterPolicy:
    """A policy for the wire."""
    policy = view.policy
    return policies_pb2.MasterPolicy(
        policy_id=str(policy.policy_id),
        insurer_id=policy.insurer_id,
        programme=policy.programme,
        area_code=policy.area_code,
        cover_ids=policy.covers,
        from_date=wire.date_to_proto(policy.from_date),
        until_date=wire.date_to_proto(policy.until_date),
        renews_policy_id=str(policy.renews_policy_id or ""),
        end_reason=policy.end_reason,
        insured_count=view.insured_count,
        household_count=view.household_count,
        premium_fen=view.charged_fen,
        paid_fen=view.paid_fen,
    )


def entry_to_proto(entry: InsuredEntry) -> policies_pb2.Insured:
    """An entry for the wire."""
    return policies_pb2.Insured(
        insured_id=str(entry.insured_id),
        policy_id=str(entry.policy_id),
        household_id=str(entry.household_id),
        member_id=str(entry.member_id or ""),
        loan_id=str(entry.loan_id or ""),
        cover_id=entry.cover_id,
        sum_insured_fen=entry.sum_insured_fen,
        premium_fen=entry.premium_fen,
        from_date=wire.date_to_proto(entry.from_date),
        until_date=wire.date_to_proto(entry.until_date),
        state=entry.state,
    )


def endorsement_to_proto(record: Endorsement) -> policies_pb2.EndorsementRecord:
    """A change for the wire."""
    return policies_pb2.EndorsementRecord(
        endorsement_id=str(record.endorsement_id),
        insured_id=str(record.insured_id),
        kind=record.kind,
        effective_on=wire.date_to_proto(record.effective_on),
        sum_before_fen=record.sum_before_fen,
        sum_after_fen=record.sum_after_fen,
        premium_fen=record.premium_fen,
        reason=record.reason,
        institution_id=record.institution_id,
    )


def certificate_to_proto(line: CertificateLine) -> policies_pb2.CertificateLine:
    """A line of a certificate for the wire."""
    entry = line.entry
    return policies_pb2.CertificateLine(
        insured_id=str(entry.insured_id),
        policy_id=str(entry.policy_id),
        insurer_id=line.policy.insurer_id,
        member_id=str(entry.member_id or ""),
        loan_id=str(entry.loan_id or ""),
        cover_id=entry.cover_id,
        cover_kind=line.cover.kind,
        title_zh=line.cover.title.zh,
        sum_insured_fen=entry.sum_insured_fen,
        event_cap_fen=cap_fen(line.cover) or 0,
        from_date=wire.date_to_proto(entry.from_date),
        until_date=wire.date_to_proto(entry.until_date),
        premium_fen=entry.premium_fen,
        payers=parts_to_proto(line.parts),
        payees_first=line.payees_first,
        state=entry.state,
        programme=line.policy.programme,
    )


def line_from_proto(item: policies_pb2.InsuredLine, path: str) -> Line:
    """A line of a list."""
    return Line(
        household_id=parse_id(f"{path}household_id", item.household_id),
        member_id=optional_id(f"{path}member_id", item.member_id),
        cover_id=item.cover_id,
        stated_fen=Fen(item.sum_insured_fen),
        loan_id=optional_id(f"{path}loan_id", item.loan_id),
        from_date=optional_date(item, "from_date"),
    )


def change_from_proto(item: policies_pb2.Endorsement, path: str) -> Change:
    """A change of an entry."""
    return Change(
        insured_id=parse_id(f"{path}insured_id", item.insured_id),
        leaves=item.kind == policies_pb2.ENDORSEMENT_KIND_LEAVE,
        effective_on=wire.date_from_proto(f"{path}effective_on", item.effective_on),
        sum_insured_fen=Fen(item.sum_insured_fen),
        reason=item.reason,
    )


class MasterPoliciesDoor(policies_pb2_grpc.PoliciesServiceServicer):
    """Policies read, renewed and ended."""

    _database: Database
    _catalogue: Catalogue

    async def GetMasterPolicy(
        self, request: policies_pb2.GetMasterPolicyRequest, context: Context
    ) -> policies_pb2.GetMasterPolicyResponse:
        """One policy."""
        caller = admit(context, READERS, request.county_code)
        policy_id = parse_id("policy_id", request.policy_id)
        async with self._database.transaction(caller) as session:
            policy = await policies.own_policy(session, caller, request.county_code, policy_id)
            (view,) = await insured.view_policies(session, request.county_code, [policy])
        return policies_pb2.GetMasterPolicyResponse(policy=view_to_proto(view))

    async def ListMasterPolicies(
        self, request: policies_pb2.ListMasterPoliciesRequest, context: Context
    ) -> policies_pb2.ListMasterPoliciesResponse:
        """A page of policies."""
        caller = admit(context, READERS, request.county_code)
        size = wire.page_size(request.page_size)
        async with self._database.transaction(caller) as session:
            found = await insured.list_policies(
                session,
                caller,
                request.county_code,
                programme_id=request.programme_id,
                after=after_of(request.page_token) or FIRST,
                limit=size + 1,
            )
        page, token = wire.page_of(found, size, lambda each: each.policy.policy_id)
        return policies_pb2.ListMasterPoliciesResponse(
            policies=[view_to_proto(each) for each in page], next_page_token=token
        )

    async def RenewMasterPolicy(
        self, request: policies_pb2.RenewMasterPolicyRequest, context: Context
    ) -> policies_pb2.RenewMasterPolicyResponse:
        """The policy that follows on another."""
        caller = admit(context, ISSUERS, request.county_code)
        policy_id = parse_id("policy_id", request.policy_id)
        until_date = wire.date_from_proto("until_date", request.until_date)

        async def work(session: AsyncSession) -> policies_pb2.RenewMasterPolicyResponse:
            new = await policies.renew_master_policy(
                session,
                self._catalogue,
                caller,
                request.county_code,
                policy_id,
                until_date=until_date,
            )
            (view,) = await insured.view_policies(session, request.county_code, [new])
            return policies_pb2.RenewMasterPolicyResponse(policy=view_to_proto(view))

        return await once(
            self._database, caller, request, policies_pb2.RenewMasterPolicyResponse, work
        )

    async def CarryInsuredOver(
        self, request: policies_pb2.CarryInsuredOverRequest, context: Context
    ) -> policies_pb2.CarryInsuredOverResponse:
        """Take the old list over."""
        caller = admit(context, ENROLLERS, request.county_code)
        policy_id = parse_id("policy_id", request.policy_id)

        async def work(session: AsyncSession) -> policies_pb2.CarryInsuredOverResponse:
            carried, left = await policies.carry_insured_over(
                session,
                self._catalogue,
                caller,
                request.county_code,
                policy_id,
                limit=request.limit or CARRIED,
            )
            return policies_pb2.CarryInsuredOverResponse(carried=carried, left=left)

        return await once(
            self._database, caller, request, policies_pb2.CarryInsuredOverResponse, work, money=True
        )

    async def EndMasterPolicy(
        self, request: policies_pb2.EndMasterPolicyRequest, context: Context
    ) -> policies_pb2.EndMasterPolicyResponse:
        """End a policy before its term."""
        caller = admit(context, ISSUERS, request.county_code)
        policy_id = parse_id("policy_id", request.policy_id)
        last_day = wire.date_from_proto("last_day", request.last_day)

        async def work(session: AsyncSession) -> policies_pb2.EndMasterPolicyResponse:
            ended, entries, refund_fen = await policies.end_master_policy(
                session,
                self._catalogue,
                caller,
                request.county_code,
                policy_id,
                last_day=last_day,
                reason=request.reason,
            )
            (view,) = await insured.view_policies(session, request.county_code, [ended])
            return policies_pb2.EndMasterPolicyResponse(
                policy=view_to_proto(view), entries=entries, refund_fen=refund_fen
            )

        return await once(
            self._database, caller, request, policies_pb2.EndMasterPolicyResponse, work, money=True
        )


class InsuredDoor(policies_pb2_grpc.PoliciesServiceServicer):
    """Lists by file, endorsements, certificates."""

    _database: Database
    _catalogue: Catalogue

    async def EnrolInsured(
        self, request: policies_pb2.EnrolInsuredRequest, context: Context
    ) -> policies_pb2.EnrolInsuredResponse:
        """Put lines on a list."""
        caller = admit(context, ENROLLERS, request.county_code)
        policy_id = parse_id("policy_id", request.policy_id)
        lines = [
            line_from_proto(item, f"items[{place}].") for place, item in enumerate(request.items)
        ]

        async def work(session: AsyncSession) -> policies_pb2.EnrolInsuredResponse:
            outcomes, premium_fen = await insured.enrol_insured(
                session,
                self._catalogue,
                caller,
                request.county_code,
                policy_id,
                lines=lines,
                dry_run=request.dry_run,
            )
            return policies_pb2.EnrolInsuredResponse(
                verdicts=wire.verdicts(outcomes, lambda entry: entry.insured_id),
                premium_fen=premium_fen,
            )

        return await once(
            self._database, caller, request, policies_pb2.EnrolInsuredResponse, work, money=True
        )

    async def EndorseInsured(
        self, request: policies_pb2.EndorseInsuredRequest, context: Context
    ) -> policies_pb2.EndorseInsuredResponse:
        """Change entries of a list."""
        caller = admit(context, ENROLLERS, request.county_code)
        policy_id = parse_id("policy_id", request.policy_id)
        changes = [
            change_from_proto(item, f"items[{place}].") for place, item in enumerate(request.items)
        ]

        async def work(session: AsyncSession) -> policies_pb2.EndorseInsuredResponse:
            outcomes, premium_fen = await insured.endorse_insured(
                session,
                self._catalogue,
                caller,
                request.county_code,
                policy_id,
                changes=changes,
                dry_run=request.dry_run,
            )
            return policies_pb2.EndorseInsuredResponse(
                verdicts=wire.verdicts(outcomes, lambda entry: entry.insured_id),
                premium_fen=premium_fen,
            )

        return await once(
            self._database, caller, request, policies_pb2.EndorseInsuredResponse, work, money=True
        )

    async def ListInsured(
        self, request: policies_pb2.ListInsuredRequest, context: Context
    ) -> policies_pb2.ListInsuredResponse:
        """A page of a list."""
        caller = admit(context, READERS, request.county_code)
        size = wire.page_size(request.page_size)
        async with self._database.transaction(caller) as session:
            found = await insured.list_insured(
                session,
                caller,
                request.county_code,
                parse_id("policy_id", request.policy_id),
                household_id=optional_id("household_id", request.household_id),
                after=after_of(request.page_token) or FIRST,
                limit=size + 1,
            )
        page, token = wire.page_of(found, size, lambda each: each.insured_id)
        return policies_pb2.ListInsuredResponse(
            insured=[entry_to_proto(each) for each in page], next_page_token=token
        )

    async def ListEndorsements(
        self, request: policies_pb2.ListEndorsementsRequest, context: Context
    ) -> policies_pb2.ListEndorsementsResponse:
        """A page of what changed on a list."""
        caller = admit(context, READERS, request.county_code)
        size = wire.page_size(request.page_size)
        async with self._database.transaction(caller) as session:
            found = await insured.list_endorsements(
                session,
                caller,
                request.county_code,
                parse_id("policy_id", request.policy_id),
                after=after_of(request.page_token) or FIRST,
                limit=size + 1,
            )
        page, token = wire.page_of(found, size, lambda each: each.endorsement_id)
        return policies_pb2.ListEndorsementsResponse(
            endorsements=[endorsement_to_proto(each) for each in page], next_page_token=token
        )

    async def GetCertificate(
        self, request: policies_pb2.GetCertificateRequest, context: Context
    ) -> policies_pb2.GetCertificateResponse:
        """What a household is insured for."""
        caller = admit(context, READERS, request.county_code)
        household_id = parse_id("household_id", request.household_id)
        async with self._database.transaction(caller) as session:
            on = optional_date(request, "on")
            on = on or await business_day.today(session, request.county_code)
            lines = await insured.certificate(
                session,
                self._catalogue,
                caller,
                request.county_code,
                household_id,
                on=on,
            )
        return policies_pb2.GetCertificateResponse(
            household_id=request.household_id,
            lines=[certificate_to_proto(line) for line in lines],
            as_of=wire.date_to_proto(on),
        )

    async def CountCertificates(
        self, request: policies_pb2.CountCertificatesRequest, context: Context
    ) -> policies_pb2.CountCertificatesResponse:
        """Counts of a day."""
        caller = admit(context, READERS, request.county_code)
        async with self._database.transaction(caller) as session:
            entries, policies_after, households, sum_fen = await insured.count_certificates(
                session,
                caller,
                request.county_code,
                request.programme_id,
                optional_date(request, "on"),
            )
        return policies_pb2.CountCertificatesResponse(
            certificates_before=entries,
            policies_after=policies_after,
            households=households,
            sum_insured_fen=sum_fen,
        )
