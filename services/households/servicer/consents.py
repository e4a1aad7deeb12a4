"""Consents over gRPC."""

from datetime import date

from liandong.households.v1 import consents_pb2, consents_pb2_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from services.households.model import Consent, ConsentMedium, Provenance
from services.households.operations import consents as operations
from services.households.operations.shared import Keys
from services.households.servicer import shared
from services.kernel import business_day, ids, wire
from services.kernel.database import Database
from services.kernel.ids import parse_id
from services.kernel.rpc import Context

_MEDIUM = "CONSENT_MEDIUM"


class ConsentsServicer(consents_pb2_grpc.ConsentsServiceServicer):
    """Who may receive what, for which purpose, how long."""

    def __init__(self, db: Database, keys: Keys) -> None:
        self._database = db
        self._keys = keys

    async def GiveConsent(
        self, request: consents_pb2.GiveConsentRequest, context: Context
    ) -> consents_pb2.GiveConsentResponse:
        """Record a consent."""
        caller = shared.allowed(context, request.county_code, shared.STATION_ROLES)
        evidence = shared.evidence_of(request.evidence)
        medium = shared.enum_name(consents_pb2.ConsentMedium, _MEDIUM, request.medium)
        consent = Consent(
            consent_id=ids.new_id(),
            household_id=parse_id("household_id", request.household_id),
            person_id=parse_id("person_id", request.person_id),
            receiver_id=request.receiver_id,
            purpose=request.purpose,
            categories=tuple(shared.category_of(each) for each in request.categories),
            valid_from=shared.day("valid_from", request.valid_from),
            valid_to=shared.day("valid_to", request.valid_to),
            wording_version=request.wording_version,
            medium=ConsentMedium(medium),
            provenance=Provenance(caller.institution_id, caller.person_id, evidence, date.min),
        )

        async def work(session: AsyncSession) -> consents_pb2.GiveConsentResponse:
            consent_id = await operations.give_consent(
                session,
                caller,
                request.county_code,
                consent,
                evidence=evidence,
                keys=self._keys,
            )
            return consents_pb2.GiveConsentResponse(consent_id=str(consent_id))

        answer = consents_pb2.GiveConsentResponse
        return await shared.command(self._database, caller, request, answer, work)

    async def WithdrawConsent(
        self, request: consents_pb2.WithdrawConsentRequest, context: Context
    ) -> consents_pb2.WithdrawConsentResponse:
        """Withdraw a consent."""
        caller = shared.allowed(context, request.county_code, shared.STATION_ROLES)
        medium = shared.enum_name(consents_pb2.ConsentMedium, _MEDIUM, request.medium)

        async def work(session: AsyncSession) -> consents_pb2.WithdrawConsentResponse:
            await operations.withdraw_consent(
                session,
                caller,
                request.county_code,
                parse_id("consent_id", request.consent_id),
                medium=ConsentMedium(medium),
                evidence=shared.evidence_of(request.evidence),
            )
            return consents_pb2.WithdrawConsentResponse()

        answer = consents_pb2.WithdrawConsentResponse
        return await shared.command(self._database, caller, request, answer, work)

    async def ListConsents(
        self, request: consents_pb2.ListConsentsRequest, context: Context
    ) -> consents_pb2.ListConsentsResponse:
        """The consents of a household."""
        caller = shared.allowed(context, request.county_code)
        size = wire.page_size(request.page_size)
        async with self._database.transaction(caller) as session:
            today = await business_day.today(session, request.county_code)
            found = await operations.list_consents(
                session,
                caller,
                request.county_code,
                parse_id("household_id", request.household_id),
                known_by=shared.known_by(request.as_of, request.HasField("as_of")),
                after=shared.start_id(request.page_token),
                limit=size + 1,
            )
        page, token = wire.page_of(found, size, lambda each: each.consent_id)
        return consents_pb2.ListConsentsResponse(
            consents=[_consent_to_proto(each, today) for each in page],
            next_page_token=token,
        )


def _consent_to_proto(consent: Consent, today: date) -> consents_pb2.Consent:
    return consents_pb2.Consent(
        consent_id=str(consent.consent_id),
        household_id=str(consent.household_id),
        person_id=str(consent.person_id),
        receiver_id=consent.receiver_id,
        purpose=consent.purpose,
        categories=[shared.category_to_proto(each) for each in consent.categories],
        valid_from=wire.date_to_proto(consent.valid_from),
        valid_to=wire.date_to_proto(consent.valid_to),
        wording_version=consent.wording_version,
        medium=shared.enum_to_proto(consents_pb2.ConsentMedium, _MEDIUM, consent.medium),
        provenance=shared.provenance_to_proto(consent.provenance),
        live=consent.live_on(today),
        withdrawal=shared.optional_provenance(consent.withdrawal),
    )
