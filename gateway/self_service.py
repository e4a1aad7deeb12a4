"""
Self-service: a household reads what is kept about it, contests it, and is told who read it.

Who it is: a portal's token names the person (`gateway/person_tokens.py`), or a clerk at a station
names the identity number on the card before him and the consent to it. Whose household that is,
households says; from there on nothing is asked but about that household. Whether a programme lets
people look up their own is its clause `gateway.self_service`; `self_service_scopes` say what it
promises at least and with which proof, and take nothing of the rest away (S47).
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Final
from uuid import UUID

from google.protobuf.message import Message
from google.type.date_pb2 import Date
from liandong.gateway.v1 import documents_pb2
from liandong.gateway.v1 import self_pb2 as pb
from liandong.households.v1 import evidence_pb2, households_pb2, people_pb2
from liandong.loans.v1 import reports_pb2

from gateway import access, log_store, self_file, self_store
from gateway.documents import papers
from gateway.documents.pdf import ROWS_MAX
from gateway.documents.servicer import Asked, names_of, printed, told
from gateway.documents.words import label, language_of
from gateway.groups import PEOPLE
from gateway.identity import Claim, Directory, Institution
from gateway.log_servicer import access_to_proto, before_of
from gateway.onward import Onward
from gateway.resources import HOUSEHOLD_KINDS
from gateway.self_disputes import file_dispute
from gateway.self_store import StationVisit
from gateway.servicer import OwnMethod, going_on
from gateway.turnstile import Turnstile, per_second
from services.kernel import ids, wire
from services.kernel.database import Database
from services.kernel.errors import Denied, Invalid, NotFound, invalid_field
from services.programmes.loader import Catalogue
from services.programmes.schema.deployment import InstitutionRole as Role

_SERVICE: Final = "liandong.gateway.v1.HouseholdSelfService"
_PEOPLE: Final = "liandong.households.v1.PeopleService"
_STATEMENT: Final = "liandong.loans.v1.ReportsService/GetHouseholdStatement"
_GET_HOUSEHOLD: Final = "liandong.households.v1.HouseholdsService/GetHousehold"
VISIT: Final = "visit:"
PEOPLE_PER_SECOND: Final = 100
"""All together; a look asks nine things of services, and one more for each claim."""
EVER: Final = Date(year=2000, month=1, day=1)


@dataclass(frozen=True, slots=True)
class Mine:
    """A household that was found to be the asker's own, and what it may be told."""

    county_code: str
    household: households_pb2.Household
    asked: Asked
    today: date
    statement: reports_pb2.GetHouseholdStatementResponse
    offers: Callable[[str], bool]
    """Whether a programme lets people look up their own."""
    evidence: evidence_pb2.Evidence
    """What the call itself rests on: a token, or the consent at the station."""

    @property
    def household_id(self) -> str:
        """The household."""
        return self.household.household_id


class SelfServicer:
    """Finds out who asks, and answers about nobody else."""

    def __init__(
        self,
        db: Database,
        directory: Directory,
        catalogue: Catalogue,
        *,
        calls_per_second: int,
    ) -> None:
        self._db = db
        self._directory = directory
        self._catalogue = catalogue
        self._turnstile = Turnstile(
            per_second(max(PEOPLE_PER_SECOND, calls_per_second)),
            per_second(calls_per_second),
            of="person",
        )

    async def IdentifyMe(
        self,
        institution: Institution,
        _claim: Claim,
        request: pb.IdentifyMeRequest,
        onward: Onward,
    ) -> pb.IdentifyMeResponse:
        """The id that the portal's tokens name a person by."""
        asked = Asked(onward, institution.role)
        found = await _resolved(asked, request.county_code, request.identity_number)
        return pb.IdentifyMeResponse(person_id=found.verdict.id)

    async def GetMyFile(
        self, institution: Institution, claim: Claim, request: pb.GetMyFileRequest, onward: Onward
    ) -> pb.GetMyFileResponse:
        """The household's own file."""
        mine = await self._mine(institution, claim, request, onward, "GetMyFile")
        return await self._file(mine)

    async def PrintMyPaper(
        self,
        institution: Institution,
        claim: Claim,
        request: pb.PrintMyPaperRequest,
        onward: Onward,
    ) -> pb.PrintMyPaperResponse:
        """The file, or who read it, on paper."""
        mine = await self._mine(institution, claim, request, onward, "PrintMyPaper")
        language = language_of(request.language)
        if request.paper == pb.MY_PAPER_FILE:
            file = await self._file(mine)
            names = names_of(self._directory, language)
            paper = papers.my_file(file, mine.household, language, names)
        else:
            found = await self._accesses(mine, before=log_store.POSITION_MAX, rows_max=ROWS_MAX)
            paper = papers.access_report(
                [each for _, each in found], mine.household_id, mine.household, language
            )
        document: documents_pb2.Document = await printed(
            paper,
            institution,
            replace(claim, purpose=claim.purpose or access.HOUSEHOLD_REQUEST),
            county_code=request.county_code,
            as_of=wire.date_to_proto(mine.today),
            data_sha256=mine.asked.digest(),
            name=f"my-{pb.MyPaper.Name(request.paper).removeprefix('MY_PAPER_').lower()}",
            on_behalf=label("household_itself", language),
        )
        return pb.PrintMyPaperResponse(document=document)

    async def FileMyDispute(
        self,
        institution: Institution,
        claim: Claim,
        request: pb.FileMyDisputeRequest,
        onward: Onward,
    ) -> pb.FileMyDisputeResponse:
        """Contest something of the own file."""
        mine = await self._mine(institution, claim, request, onward, "FileMyDispute")
        return await file_dispute(mine.asked, mine.household_id, request, mine.evidence)

    async def ListMyAccesses(
        self,
        institution: Institution,
        claim: Claim,
        request: pb.ListMyAccessesRequest,
        onward: Onward,
    ) -> pb.ListMyAccessesResponse:
        """Who read or did what about the household."""
        size, before = wire.page_size(request.page_size), before_of(request.page_token)
        mine = await self._mine(institution, claim, request, onward, "ListMyAccesses")
        found = await self._accesses(mine, before=before, rows_max=size + 1)
        page, token = wire.page_of(found, size, lambda each: each[0])
        return pb.ListMyAccessesResponse(accesses=[each for _, each in page], next_page_token=token)

    # --- who it is ---------------------------------------------------------------------------

    async def _mine(
        self, institution: Institution, claim: Claim, request: Any, onward: Onward, method: str
    ) -> Mine:
        """The household of who asks; refused where its programmes do not let people look."""
        # Each counts for itself: a portal's person, a station's clerk.
        who = f"{institution.institution_id} {claim.person_id}"
        self._turnstile.leave(self._turnstile.enter(who))
        asked, county_code = Asked(onward, institution.role), request.county_code
        station = institution.role != Role.HOUSEHOLD
        visit_id = ids.new_id()
        if station:
            # From the first step on: the log tells a step from a look of the clerk's own.
            onward.touch(f"{VISIT}{visit_id}")
        person_id, household_id = (
            await _at_station(asked, claim, request)
            if station
            else await _by_token(asked, claim, request)
        )
        found = await asked.ask(
            _GET_HOUSEHOLD,
            households_pb2.GetHouseholdRequest(county_code=county_code, household_id=household_id),
            households_pb2.GetHouseholdResponse,
        )
        household = found.household
        onward.touch(f"household:{household.household_id}")
        evidence = evidence_pb2.Evidence(
            kind=evidence_pb2.EVIDENCE_KIND_SYSTEM, reference=f"person-token {person_id}"
        )
        if station:
            evidence = request.at_station.consent
            await self._enter(
                institution, claim, household, request=request, method=method, visit_id=visit_id
            )
        statement = await asked.ask(
            _STATEMENT,
            reports_pb2.GetHouseholdStatementRequest(
                county_code=county_code, household_id=household.household_id, first=EVER
            ),
            reports_pb2.GetHouseholdStatementResponse,
        )
        today = wire.date_from_proto("as_of", statement.as_of)
        self._require_offered(county_code, household.household_id, today)
        return Mine(
            county_code,
            household,
            asked,
            today,
            statement,
            lambda ref: self._offers(county_code, household.household_id, ref),
            evidence,
        )

    async def _enter(
        self,
        institution: Institution,
        claim: Claim,
        household: households_pb2.Household,
        *,
        request: Any,
        method: str,
        visit_id: UUID,
    ) -> None:
        """Keep on which consent a clerk looks; a page later than this is a new look."""
        consent = request.at_station.consent
        visit = StationVisit(
            visit_id=visit_id,
            county_code=request.county_code,
            household_id=UUID(household.household_id),
            institution_id=institution.institution_id,
            person_id=claim.person_id,
            method=method,
            evidence_kind=evidence_pb2.EvidenceKind.Name(consent.kind)
            .removeprefix("EVIDENCE_KIND_")
            .lower(),
            evidence_reference=consent.reference,
            evidence_sha256=consent.sha256,
        )
        async with self._db.transaction() as session:
            await self_store.enter_visit(session, visit)

    def _offers(self, county_code: str, household_id: str, programme_ref: str) -> bool:
        """Whether the policies let a household read its own under a programme."""
        rules = self._catalogue.terms(county_code, programme_ref).pack.gateway
        conditions = access.conditions_of(rules) if rules else access.Conditions(self_service=False)
        own = access.Subject(role=access.HOUSEHOLD, household_id=household_id)
        whose = access.Resource(household_id=household_id)
        return access.decide(own, "household.read", whose, conditions).allow

    def _require_offered(self, county_code: str, household_id: str, today: date) -> None:
        followed = [each.programme for each in self._catalogue.adoptions(county_code, today)]
        if any(self._offers(county_code, household_id, ref) for ref in followed):
            return
        raise Denied(
            "SELF_SERVICE_NOT_OFFERED",
            "no programme that the county follows lets people look up their own",
            message_zh="本县现行方案未开通农户自助查询",
            facts={"programmes": ", ".join(followed), "key": "gateway.self_service"},
        )

    # --- what it is told ---------------------------------------------------------------------

    async def _file(self, mine: Mine) -> pb.GetMyFileResponse:
        names = {each: one.name_zh for each, one in self._directory.everyone().items()}
        return await self_file.collect(
            mine.asked, mine.household, mine.statement, offers=mine.offers, names=names
        )

    async def _accesses(
        self, mine: Mine, *, before: int, rows_max: int
    ) -> list[tuple[int, pb.MyAccess]]:
        """Calls about the household and what belongs to it, by position; without our own steps."""
        belonging = await self_file.belonging(mine.asked, mine.county_code, mine.household_id)
        wanted = [*(f"{kind}:{mine.household_id}" for kind in HOUSEHOLD_KINDS), *belonging]
        kept: list[Any] = []
        async with self._db.transaction() as session:
            while len(kept) < rows_max:
                rows = await log_store.accesses_of(
                    session, wanted, mine.county_code, before=before, rows_max=rows_max
                )
                kept += [row for row in rows if not self._is_a_step(row)]
                if len(rows) < rows_max:
                    break
                before = rows[-1]["position"]
            kept = kept[:rows_max]
            visits = {UUID(found): row["position"] for row in kept if (found := _visit_of(row))}
            consents = await self_store.references(session, UUID(mine.household_id), visits)
        by_position = {visits[visit]: reference for visit, reference in consents.items()}
        return [
            (
                row["position"],
                told(
                    access_to_proto(row, ()), self._directory, by_position.get(row["position"], "")
                ),
            )
            for row in kept
        ]

    def _is_a_step(self, row: Any) -> bool:
        """Whether the gateway asked it on the way to a file: the file's own row tells of it."""
        if row["method"].startswith(_SERVICE):
            return False
        asker = self._directory.find(row["institution_id"])
        return bool(_visit_of(row)) or (asker is not None and asker.role in PEOPLE)

    def methods(self) -> Mapping[str, OwnMethod]:
        """The methods by path, as functions of bytes."""
        of: tuple[tuple[type[Message], Callable[..., Awaitable[Message]]], ...] = (
            (pb.IdentifyMeRequest, self.IdentifyMe),
            (pb.GetMyFileRequest, self.GetMyFile),
            (pb.PrintMyPaperRequest, self.PrintMyPaper),
            (pb.FileMyDisputeRequest, self.FileMyDispute),
            (pb.ListMyAccessesRequest, self.ListMyAccesses),
        )
        return {f"/{_SERVICE}/{method.__name__}": going_on(kind, method) for kind, method in of}


def _visit_of(row: Any) -> str:
    return next(
        (each.removeprefix(VISIT) for each in row["resources"] if each.startswith(VISIT)), ""
    )


async def _by_token(asked: Asked, claim: Claim, request: Any) -> tuple[str, str]:
    """The person that a portal's token names, and the household."""
    if request.HasField("at_station"):
        rule = "must be unset: a portal names the person by a token"
        raise invalid_field("NOT_A_STATION", "at_station", "", rule, "门户须以令牌表明本人")
    if not claim.person_id:
        raise Denied(
            "PERSON_NEEDED",
            "a portal asks with a token of the person whose household it is",
            message_zh="须提供本人令牌",
        )
    answer = await asked.ask(
        f"{_PEOPLE}/DisclosePersons",
        people_pb2.DisclosePersonsRequest(
            county_code=request.county_code,
            person_ids=[claim.person_id],
            categories=[evidence_pb2.DATA_CATEGORY_FAMILY],
        ),
        people_pb2.DisclosePersonsResponse,
    )
    (found,) = answer.persons
    if not found.verdict.accepted or not found.household_id:
        raise _missing()
    return claim.person_id, found.household_id


async def _at_station(asked: Asked, claim: Claim, request: Any) -> tuple[str, str]:
    """The person whose card a clerk has before him, and the household."""
    if not request.HasField("at_station"):
        rule = "must say whose card it is and on which consent: a station asks for no other"
        raise invalid_field("CONSENT_NEEDED", "at_station", "", rule, "须凭身份证及授权查询")
    if not claim.person_id:
        raise Denied("PERSON_NEEDED", "this call must name the clerk", message_zh="须指明经办人")
    identity_number = request.at_station.identity_number
    found = await _resolved(asked, request.county_code, identity_number)
    if not found.household_id:
        raise _missing()
    return found.verdict.id, found.household_id


async def _resolved(
    asked: Asked, county_code: str, identity_number: str
) -> people_pb2.ResolvedPerson:
    """The person of an identity number; the same answer for nobody and for another area's."""
    answer = await asked.ask(
        f"{_PEOPLE}/ResolvePersons",
        people_pb2.ResolvePersonsRequest(
            county_code=county_code,
            queries=[people_pb2.PersonQuery(identity_number=identity_number)],
        ),
        people_pb2.ResolvePersonsResponse,
    )
    (found,) = answer.persons
    if found.verdict.accepted:
        return found
    if found.verdict.violations:
        # The number's own faults; its value stays here.
        raise Invalid(
            found.verdict.reason,
            "identity_number: is no identity number",
            message_zh=found.verdict.message_zh or "证件号码有误",
        )
    raise NotFound("PERSON_NOT_FOUND", "no such person", message_zh="没有该人")


def _missing() -> NotFound:
    return NotFound("HOUSEHOLD_NOT_FOUND", "no household of this person", message_zh="没有该户")
