"""Own status: how an institution stands with the gateway, told to itself alone."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from liandong.gateway.v1 import gateway_pb2, institutions_pb2

from gateway import feed_readers, feed_store, store, usage
from gateway.feed_pages import Pages
from gateway.identity import FOREVER, Certificate, Claim, Institution
from gateway.limits import CLASSES, REASONS_MAX, Limiter, Usage
from gateway.pauses import Pauses
from gateway.registry import certificate_to_proto, key_to_proto, timestamp
from gateway.servicer import OwnMethod, institution_to_proto, of_bytes
from services.kernel import wire
from services.kernel.database import Database
from services.kernel.pauses import Pause

ENDING_SECONDS: Final = 30 * 86_400
"""A certificate that ends within is named."""


class OwnStatus:
    """Puts together what the limiter, the registry, the pauses and the feed know of one."""

    def __init__(self, db: Database, limiter: Limiter, pages: Pages, paused: Pauses) -> None:
        self._db = db
        self._limiter = limiter
        self._pages = pages
        self._paused = paused

    def methods(self) -> Mapping[str, OwnMethod]:
        """The method by its path."""
        path = "/liandong.gateway.v1.GatewayService/GetStatus"
        return {path: of_bytes(gateway_pb2.GetStatusRequest, self.GetStatus)}

    async def GetStatus(
        self, institution: Institution, claim: Claim, _request: gateway_pb2.GetStatusRequest
    ) -> gateway_pb2.GetStatusResponse:
        """How the caller stands: what it may, what was refused, what waits, until when."""
        own = institution.institution_id
        day = self._limiter.begin()
        async with self._db.transaction() as session:
            refused = Counter(await usage.refusals(session, own, day))
            certificates, keys = await store.credentials(session, [own])
            known = await feed_store.readers(session, own)
            first, _ = await feed_store.first_kept(session)
        for (counted, whose, reason), calls in self._limiter.refused.items():
            if (counted, whose) == (day, own):
                refused[reason] += calls
        shown = claim.certificate
        registered = institution.certificates.get(shown.fingerprint) if shown else None
        ends = min(
            shown.not_after if shown else FOREVER,
            registered.period.ends if registered else FOREVER,
        )
        now = time.time()
        limits = self._limiter.usage(institution)
        contract = max((c.ends for c in institution.contracts if c.holds(now)), default=FOREVER)
        return gateway_pb2.GetStatusResponse(
            institution=institution_to_proto(institution),
            day=wire.date_to_proto(day),
            next_day_at=timestamp(now + self._limiter.seconds_left()),
            limits=[_limit_status(one) for one in limits],
            refusals=[
                gateway_pb2.RefusalCount(reason=reason, calls=calls)
                for reason, calls in refused.most_common(REASONS_MAX)
            ],
            certificate_fingerprint=shown.fingerprint if shown else "",
            certificate_ends_at=timestamp(ends),
            contract_ends_at=timestamp(contract),
            certificates=[certificate_to_proto(one) for one in certificates],
            person_keys=[key_to_proto(one) for one in keys],
            # A limit of one method counts what its class counts already.
            calls_today=sum(one.used for one in limits if one.scope in CLASSES),
            refused_today=refused.total(),
            pauses=[_own_pause(one) for one in self._paused.of(own)],
            feed_readers=await feed_readers.readers(
                self._pages, institution, known, first_kept=first
            ),
            ending_certificates=_ending(certificates, shown, now),
        )


def _own_pause(pause: Pause) -> gateway_pb2.OwnPause:
    return gateway_pb2.OwnPause(
        kind=pause.kind,
        reason=pause.reason,
        paused_time=timestamp(pause.paused_at),
        expire_time=timestamp(pause.expires_at),
    )


def _ending(
    known: Sequence[store.CertificateRecord], shown: Certificate | None, now: float
) -> list[institutions_pb2.ClientCertificate]:
    """Certificates that end soon, also the one of this call where nobody registered it."""
    found = [(_ends(one), certificate_to_proto(one)) for one in known if not one.revoked_reason]
    if shown is not None and shown.fingerprint not in {one.fingerprint for one in known}:
        own = institutions_pb2.ClientCertificate(
            fingerprint=shown.fingerprint, not_after=timestamp(shown.not_after)
        )
        found.append((shown.not_after, own))
    soon = [each for each in found if now < each[0] < now + ENDING_SECONDS]
    return [each for _, each in sorted(soon, key=lambda pair: pair[0])]


def _ends(one: store.CertificateRecord) -> float:
    ends = [moment.timestamp() for moment in (one.not_after, one.valid_until) if moment]
    return min(ends, default=FOREVER)


def _limit_status(one: Usage) -> gateway_pb2.LimitStatus:
    most = one.limit.calls_per_day
    return gateway_pb2.LimitStatus(
        scope=one.scope,
        limit=institutions_pb2.Limit(**one.limit.model_dump()),
        calls_today=one.used,
        calls_left=max(0, most - one.used),
        running=one.running,
    )
