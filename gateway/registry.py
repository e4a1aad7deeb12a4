"""The registry of institutions: who takes part, with which keys, how often, suspended or not."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date, datetime
from typing import TypeVar
from uuid import UUID

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.date_pb2 import Date
from liandong.gateway.v1 import institutions_pb2 as pb
from pydantic import ValidationError
from sqlmodel.ext.asyncio.session import AsyncSession

from gateway import operations, store
from gateway.identity import (
    Certificate,
    Claim,
    Directory,
    Institution,
    OwnLimit,
    caller_for,
)
from gateway.limits import CLASSES, METHOD_CLASSES
from gateway.person_tokens import key_id
from services.kernel import ids, wire
from services.kernel.caller import Caller, body_hash
from services.kernel.database import Database
from services.kernel.errors import (
    Conflict,
    Denied,
    Invalid,
    NotFound,
    Refused,
    Violation,
    invalid_field,
)
from services.kernel.idempotency import once
from services.programmes.schema import deployment

R = TypeVar("R", bound=Message)

SERVICE = "/liandong.gateway.v1.InstitutionsService"
ORDER_HOURS_MAX = 24
OPERATOR = deployment.InstitutionRole.OPERATOR


class Registry:
    """Changes the registry; reads of it go through the directory that every call goes by."""

    def __init__(self, db: Database, directory: Directory) -> None:
        self._db = db
        self._directory = directory

    async def EnterInstitutions(
        self, institution: Institution, claim: Claim, request: pb.EnterInstitutionsRequest
    ) -> pb.EnterInstitutionsResponse:
        """Enter institutions with exactly these persons."""
        entries = [_entry(place, one) for place, one in enumerate(request.institutions)]

        async def work(session: AsyncSession) -> pb.EnterInstitutionsResponse:
            changed = await operations.enter_institutions(session, entries)
            return pb.EnterInstitutionsResponse(changed=changed)

        return await self._once(institution, claim, request, pb.EnterInstitutionsResponse, work)

    async def ListRegistrations(
        self, _institution: Institution, _claim: Claim, request: pb.ListRegistrationsRequest
    ) -> pb.ListRegistrationsResponse:
        """The registry, in id order."""
        start = wire.page_start(request.page_token)
        size = wire.page_size(request.page_size)
        everyone = self._directory.everyone()
        wanted = request.institution_id
        found = [
            one
            for one in everyone.values()
            if one.institution_id > start and wanted in ("", one.institution_id)
        ]
        page, rest = wire.page_of(found, size, lambda one: one.institution_id)
        named = [one.institution_id for one in page]
        async with self._db.transaction() as session:
            certificates, keys = await store.credentials(session, named)
            reasons = await store.standing_reasons(session, named)
        return pb.ListRegistrationsResponse(
            registrations=[
                _registration(
                    one,
                    in_force=self._directory.in_force(one),
                    reason=reasons.get(one.institution_id, ""),
                    certificates=certificates,
                    keys=keys,
                )
                for one in page
            ],
            next_page_token=rest,
        )

    async def RegisterCertificate(
        self, institution: Institution, claim: Claim, request: pb.RegisterCertificateRequest
    ) -> pb.RegisterCertificateResponse:
        """Register a certificate; the others may end soon after."""
        person_id = _person(claim)
        found = self._find(request.institution_id)
        certificate = _certificate(request.certificate_pem)

        async def work(session: AsyncSession) -> pb.RegisterCertificateResponse:
            of = found.institution_id
            if not await store.register_certificate(session, of, certificate, person_id):
                raise Conflict(
                    "CERTIFICATE_KNOWN",
                    "the certificate is registered or revoked already",
                    message_zh="证书已登记或已吊销",
                )
            if request.HasField("others_end_after_seconds"):
                seconds = request.others_end_after_seconds
                kept = certificate.fingerprint
                await store.end_other_certificates(session, of, kept, seconds)
            await store.raise_version(session)
            certificates, _ = await store.credentials(session, [of])
            return pb.RegisterCertificateResponse(
                certificate=next(
                    certificate_to_proto(one)
                    for one in certificates
                    if one.fingerprint == certificate.fingerprint
                )
            )

        return await self._once(institution, claim, request, pb.RegisterCertificateResponse, work)

    async def RevokeCertificate(
        self, institution: Institution, claim: Claim, request: pb.RevokeCertificateRequest
    ) -> pb.RevokeCertificateResponse:
        """Revoke a certificate for ever, registered or not."""
        person_id = _person(claim)
        found = self._find(request.institution_id)

        async def work(session: AsyncSession) -> pb.RevokeCertificateResponse:
            done = await store.revoke_certificate(
                session, found.institution_id, request.fingerprint, request.reason, person_id
            )
            if not done:
                raise Refused(
                    "CERTIFICATE_OF_ANOTHER",
                    "the certificate is registered for another institution",
                    message_zh="证书属于其他机构",
                )
            await store.raise_version(session)
            return pb.RevokeCertificateResponse()

        return await self._once(institution, claim, request, pb.RevokeCertificateResponse, work)

    async def RegisterPersonKey(
        self, institution: Institution, claim: Claim, request: pb.RegisterPersonKeyRequest
    ) -> pb.RegisterPersonKeyResponse:
        """Register a key of persons' tokens."""
        person_id = _person(claim)
        found = self._own_or_any(institution, request.institution_id)
        if institution.role != OPERATOR and not _checks_by_token(institution, claim, person_id):
            raise Denied(
                "PERSON_TOKEN_NEEDED",
                "a checker asks for this, by a token of a key that is registered",
                message_zh="须由复核人持令牌办理",
            )
        named = key_id(request.public_key)

        async def work(session: AsyncSession) -> pb.RegisterPersonKeyResponse:
            of = found.institution_id
            if not await store.register_key(session, of, named, request.public_key, person_id):
                raise Conflict(
                    "PERSON_KEY_KNOWN", "the key was registered before", message_zh="密钥已登记"
                )
            if request.HasField("others_end_after_seconds"):
                seconds = request.others_end_after_seconds
                await store.end_other_keys(session, of, named, seconds)
            await store.raise_version(session)
            return pb.RegisterPersonKeyResponse(key_id=named)

        return await self._once(institution, claim, request, pb.RegisterPersonKeyResponse, work)

    async def RevokePersonKey(
        self, institution: Institution, claim: Claim, request: pb.RevokePersonKeyRequest
    ) -> pb.RevokePersonKeyResponse:
        """Revoke a key for ever, and with it what it signed."""
        found = self._own_or_any(institution, request.institution_id)

        async def work(session: AsyncSession) -> pb.RevokePersonKeyResponse:
            done = await store.revoke_key(
                session, found.institution_id, request.key_id, request.reason
            )
            if not done:
                raise NotFound(
                    "PERSON_KEY_NOT_FOUND", "no such key is registered", message_zh="密钥不存在"
                )
            await store.raise_version(session)
            return pb.RevokePersonKeyResponse()

        return await self._once(institution, claim, request, pb.RevokePersonKeyResponse, work)

    async def ProposeStanding(
        self, institution: Institution, claim: Claim, request: pb.ProposeStandingRequest
    ) -> pb.ProposeStandingResponse:
        """Ask that an institution be suspended or resumed."""
        person_id = _person(claim)
        found = self._find(request.institution_id)
        if found.institution_id == institution.institution_id:
            raise Refused(
                "NOT_ONESELF", "nobody suspends or resumes oneself", message_zh="不得停用本机构"
            )
        if found.active == request.active:
            raise Refused(
                "STANDING_AS_ASKED", "it stands so already", message_zh="机构已处于该状态"
            )

        async def work(session: AsyncSession) -> pb.ProposeStandingResponse:
            order_id = ids.new_id()
            await store.propose_standing(
                session,
                order_id,
                found.institution_id,
                active=request.active,
                reason=request.reason,
                person_id=person_id,
            )
            return pb.ProposeStandingResponse(order_id=str(order_id))

        return await self._once(institution, claim, request, pb.ProposeStandingResponse, work)

    async def DecideStanding(
        self, institution: Institution, claim: Claim, request: pb.DecideStandingRequest
    ) -> pb.DecideStandingResponse:
        """Decide such an order; whoever proposed it may drop it, and not carry it out."""
        person_id = _person(claim)
        order_id: UUID = ids.parse_id("order_id", request.order_id)

        async def work(session: AsyncSession) -> pb.DecideStandingResponse:
            order = await store.open_order(session, order_id, ORDER_HOURS_MAX)
            if order is None:
                raise NotFound(
                    "ORDER_NOT_FOUND",
                    "no such order waits to be decided",
                    message_zh="待确认指令不存在",
                )
            of, active, proposed_by = order
            if person_id == proposed_by:
                raise Denied(
                    "SAME_PERSON",
                    "a second person decides what one proposed",
                    message_zh="须由另一人确认",
                )
            await store.close_order(session, order_id, person_id, confirmed=request.confirm)
            if request.confirm:
                await operations.set_active(session, of, active=active)
            standing = request.confirm == active
            return pb.DecideStandingResponse(institution_id=of, active=standing)

        return await self._once(institution, claim, request, pb.DecideStandingResponse, work)

    async def SetLimit(
        self, institution: Institution, claim: Claim, request: pb.SetLimitRequest
    ) -> pb.SetLimitResponse:
        """Give an institution a limit of its own, or take it back."""
        _person(claim)
        found = self._find(request.institution_id)
        if request.scope not in CLASSES and request.scope not in METHOD_CLASSES:
            rule = f"must be one of {', '.join(CLASSES)}, or a method's full name"
            raise invalid_field("UNKNOWN_SCOPE", "scope", request.scope[:100], rule)
        limit = OwnLimit(
            request.limit.calls_per_second,
            request.limit.burst,
            request.limit.calls_per_day,
            request.limit.running_max,
        )

        async def work(session: AsyncSession) -> pb.SetLimitResponse:
            given = limit if request.HasField("limit") else None
            await store.set_limit(session, found.institution_id, request.scope, given)
            await store.raise_version(session)
            return pb.SetLimitResponse()

        return await self._once(institution, claim, request, pb.SetLimitResponse, work)

    def _find(self, institution_id: str) -> Institution:
        found = self._directory.find(institution_id)
        if found is None:
            raise NotFound(
                "INSTITUTION_NOT_FOUND", "no such institution is known", message_zh="机构不存在"
            )
        return found

    def _own_or_any(self, institution: Institution, institution_id: str) -> Institution:
        """An operator's is any; to others another's is as good as none."""
        if institution.role == OPERATOR or institution_id == institution.institution_id:
            return self._find(institution_id)
        return self._find("")

    async def _once(
        self,
        institution: Institution,
        claim: Claim,
        request: Message,
        response_type: type[R],
        work: Callable[[AsyncSession], Awaitable[R]],
    ) -> R:
        method = f"{SERVICE}/{request.DESCRIPTOR.name.removesuffix('Request')}"
        caller: Caller = caller_for(institution, claim, method=method, body_hash=body_hash(b""))
        answer = await once(self._db, caller, request, response_type, work, money=False)
        # The next order may build on this one; other gateways see it at their next look.
        await operations.refresh(self._db, self._directory)
        return answer


METHODS: Mapping[str, tuple[type[Message], str]] = {
    f"{SERVICE}/{name}": (getattr(pb, f"{name}Request"), name)
    for name in (
        method.name for method in pb.DESCRIPTOR.services_by_name["InstitutionsService"].methods
    )
}


def timestamp(moment: datetime | float | None) -> Timestamp | None:
    """A moment for the wire; none, or one that never comes, stays unset."""
    if moment is None or moment == float("inf"):
        return None
    made = Timestamp()
    seconds = moment.timestamp() if isinstance(moment, datetime) else moment
    made.FromMilliseconds(round(seconds * 1_000))
    return made


def certificate_to_proto(record: store.CertificateRecord) -> pb.ClientCertificate:
    """A certificate for the wire."""
    return pb.ClientCertificate(
        fingerprint=record.fingerprint,
        serial=record.serial,
        not_after=timestamp(record.not_after),
        valid_until=timestamp(record.valid_until),
        revoked_reason=record.revoked_reason,
    )


def key_to_proto(record: store.KeyRecord) -> pb.PersonKey:
    """A key for the wire."""
    return pb.PersonKey(
        key_id=record.key_id,
        valid_until=timestamp(record.valid_until),
        revoked_reason=record.revoked_reason,
    )


def _registration(
    one: Institution,
    *,
    in_force: bool,
    reason: str,
    certificates: Sequence[store.CertificateRecord],
    keys: Sequence[store.KeyRecord],
) -> pb.Registration:
    own = one.institution_id
    return pb.Registration(
        institution_id=own,
        name=one.name,
        name_zh=one.name_zh,
        role=one.role,
        county_code=one.county_code,
        active=one.active,
        standing_reason=reason,
        contract_in_force=in_force,
        certificates=[certificate_to_proto(c) for c in certificates if c.institution_id == own],
        person_keys=[key_to_proto(k) for k in keys if k.institution_id == own],
        limits=[
            pb.OwnLimit(scope=scope, limit=limit_to_proto(limit))
            for scope, limit in sorted(one.limits.items())
        ],
        persons=sorted(one.persons),
    )


def limit_to_proto(limit: OwnLimit) -> pb.Limit:
    """A limit for the wire."""
    return pb.Limit(
        calls_per_second=limit.calls_per_second,
        burst=limit.burst,
        calls_per_day=limit.calls_per_day,
        running_max=limit.running_max,
    )


def _person(claim: Claim) -> str:
    if not claim.person_id:
        raise Denied("PERSON_NEEDED", "this call must name the person", message_zh="须指明经办人")
    return claim.person_id


def _checks_by_token(institution: Institution, claim: Claim, person_id: str) -> bool:
    return bool(claim.token) and institution.persons[person_id].duty == "checker"


def _certificate(pem: str) -> Certificate:
    try:
        return Certificate.read(pem.encode())
    except ValueError:
        rule = "must be one certificate in PEM"
        raise invalid_field("MALFORMED_CERTIFICATE", "certificate_pem", "***", rule) from None


def _day(field: str, message: Message, name: str) -> date | None:
    day: Date = getattr(message, name)
    return wire.date_from_proto(field, day) if message.HasField(name) else None


def _span(path: str, message: Message) -> dict[str, date | None]:
    return {
        "valid_from": _day(f"{path}.valid_from", message, "valid_from"),
        "valid_to": _day(f"{path}.valid_to", message, "valid_to"),
    }


def _entry(place: int, entry: pb.InstitutionEntry) -> deployment.Institution:
    """What a deployment's file would hold, under the same rules."""
    path = f"institutions[{place}]"
    persons = [
        {
            "person_id": person.person_id,
            "title": {"zh": person.title_zh, "en": person.title},
            "duty": person.duty,
            "post": person.post,
            "deputy_id": person.deputy_id or None,
            **_span(f"{path}.persons[{number}]", person),
        }
        for number, person in enumerate(entry.persons)
    ]
    contracts = [
        {"contract_id": one.contract_id, **_span(f"{path}.contracts[{number}]", one)}
        for number, one in enumerate(entry.contracts)
    ]
    values = {
        "institution_id": entry.institution_id,
        "name": {"zh": entry.name_zh, "en": entry.name},
        "role": entry.role,
        "county_code": entry.county_code,
        "areas": list(entry.areas),
        "persons": persons,
        "contracts": contracts,
    }
    try:
        return deployment.Institution.model_validate(values, strict=False)
    except ValidationError as error:
        violations = [
            Violation(".".join((path, *map(str, each["loc"]))), "***", each["msg"][:200])
            for each in error.errors(include_url=False, include_input=False)[:20]
        ]
        text = "; ".join(f"{v.field}: {v.rule}" for v in violations[:10])
        raise Invalid(
            "INSTITUTION_RULE_BROKEN", text, message_zh="机构信息不符合要求", violations=violations
        ) from None
