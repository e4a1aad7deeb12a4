"""Members, identities, merges and disclosures over gRPC."""

from collections.abc import Iterable
from uuid import UUID

from liandong.households.v1 import households_pb2, people_pb2, people_pb2_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from services.households.model import (
    Disclosure,
    Duplicate,
    Household,
    LeaveReason,
    Line,
    PersonQuery,
    RegistrationStatus,
)
from services.households.operations import identities, members
from services.households.operations.shared import HOUSEHOLD, Keys
from services.households.servicer import shared
from services.households.servicer.registration import LABOUR_WORDS, RELATION_WORDS
from services.kernel import ids, wire
from services.kernel.database import Database
from services.kernel.errors import LiandongError
from services.kernel.ids import parse_id
from services.kernel.rpc import Context

_REGISTRARS = ("county_centre", "poverty_office")
_READERS = (*shared.PARTY_ROLES, *shared.DEPARTMENT_ROLES, HOUSEHOLD)


class PeopleServicer(people_pb2_grpc.PeopleServiceServicer):
    """Who belongs to households, and who may know who they are."""

    def __init__(self, db: Database, keys: Keys) -> None:
        self._database = db
        self._keys = keys

    async def AddMember(
        self, request: people_pb2.AddMemberRequest, context: Context
    ) -> people_pb2.AddMemberResponse:
        """Let a person join a household."""
        caller = shared.allowed(context, request.county_code, shared.STATION_ROLES)

        async def work(session: AsyncSession) -> people_pb2.AddMemberResponse:
            person_id, version = await members.add_member(
                session,
                caller,
                request.county_code,
                parse_id("household_id", request.household_id),
                _line(request.member),
                keys=self._keys,
                joined_on=shared.day("joined_on", request.joined_on),
                evidence=shared.evidence_of(request.evidence),
            )
            return people_pb2.AddMemberResponse(person_id=str(person_id), version=version)

        answer = people_pb2.AddMemberResponse
        return await shared.command(self._database, caller, request, answer, work)

    async def RemoveMember(
        self, request: people_pb2.RemoveMemberRequest, context: Context
    ) -> people_pb2.RemoveMemberResponse:
        """Let a member leave, or record a death."""
        caller = shared.allowed(context, request.county_code, shared.STATION_ROLES)
        reason = shared.enum_name(people_pb2.LeaveReason, "LEAVE_REASON", request.reason)

        async def work(session: AsyncSession) -> people_pb2.RemoveMemberResponse:
            version = await members.remove_member(
                session,
                caller,
                request.county_code,
                parse_id("household_id", request.household_id),
                parse_id("person_id", request.person_id),
                keys=self._keys,
                reason=LeaveReason(reason),
                left_on=shared.day("left_on", request.left_on),
                successor_id=shared.id_or_none("successor_id", request.successor_id),
                seats=_seats(request.seats),
                evidence=shared.evidence_of(request.evidence),
            )
            return people_pb2.RemoveMemberResponse(version=version)

        answer = people_pb2.RemoveMemberResponse
        return await shared.command(self._database, caller, request, answer, work)

    async def ChangeHead(
        self, request: people_pb2.ChangeHeadRequest, context: Context
    ) -> people_pb2.ChangeHeadResponse:
        """Make another member the head."""
        caller = shared.allowed(context, request.county_code, shared.STATION_ROLES)

        async def work(session: AsyncSession) -> people_pb2.ChangeHeadResponse:
            version = await members.change_head(
                session,
                caller,
                request.county_code,
                parse_id("household_id", request.household_id),
                parse_id("head_id", request.head_id),
                keys=self._keys,
                seats=_seats(request.seats),
                evidence=shared.evidence_of(request.evidence),
            )
            return people_pb2.ChangeHeadResponse(version=version)

        answer = people_pb2.ChangeHeadResponse
        return await shared.command(self._database, caller, request, answer, work)

    async def SplitHousehold(
        self, request: people_pb2.SplitHouseholdRequest, context: Context
    ) -> people_pb2.SplitHouseholdResponse:
        """Let members found a household of their own."""
        caller = shared.allowed(context, request.county_code, shared.STATION_ROLES)

        async def work(session: AsyncSession) -> people_pb2.SplitHouseholdResponse:
            founded = Household(
                county_code=request.county_code,
                household_id=ids.new_id(),
                version=1,
                household_number=request.household_number.strip(),
                area_code=request.area_code,
                status=RegistrationStatus.NON_POOR,
                honour=None,
                member_count=len(request.seats),
                registered_on=shared.day("split_on", request.split_on),
            )
            household_id = await members.split_household(
                session,
                caller,
                request.county_code,
                parse_id("household_id", request.household_id),
                self._keys,
                founded=founded,
                head_id=parse_id("head_id", request.head_id),
                seats=_seats(request.seats),
                successor_id=shared.id_or_none("successor_id", request.successor_id),
                staying_seats=_seats(request.staying_seats),
                evidence=shared.evidence_of(request.evidence),
            )
            return people_pb2.SplitHouseholdResponse(household_id=str(household_id))

        answer = people_pb2.SplitHouseholdResponse
        return await shared.command(self._database, caller, request, answer, work)

    async def CorrectIdentity(
        self, request: people_pb2.CorrectIdentityRequest, context: Context
    ) -> people_pb2.CorrectIdentityResponse:
        """Correct who a person is."""
        caller = shared.allowed(context, request.county_code, shared.STATION_ROLES)

        async def work(session: AsyncSession) -> people_pb2.CorrectIdentityResponse:
            await identities.correct_identity(
                session,
                caller,
                request.county_code,
                parse_id("person_id", request.person_id),
                self._keys,
                name=request.name,
                identity_number=request.identity_number,
                phone=request.phone,
                evidence=shared.evidence_of(request.evidence),
            )
            return people_pb2.CorrectIdentityResponse()

        answer = people_pb2.CorrectIdentityResponse
        return await shared.command(self._database, caller, request, answer, work)

    async def ListDuplicates(
        self, request: people_pb2.ListDuplicatesRequest, context: Context
    ) -> people_pb2.ListDuplicatesResponse:
        """Pairs of people who may be one."""
        caller = shared.allowed(context, request.county_code, _REGISTRARS)
        size = wire.page_size(request.page_size)
        async with self._database.transaction(caller) as session:
            found = await identities.list_duplicates(
                session,
                request.county_code,
                decided=request.decided,
                after=shared.start_id(request.page_token),
                limit=size + 1,
            )
        page, token = wire.page_of(found, size, lambda each: each.duplicate_id)
        return people_pb2.ListDuplicatesResponse(
            duplicates=[_duplicate_to_proto(pair) for pair in page],
            next_page_token=token,
        )

    async def DismissDuplicate(
        self, request: people_pb2.DismissDuplicateRequest, context: Context
    ) -> people_pb2.DismissDuplicateResponse:
        """Say that a pair is two people."""
        caller = shared.allowed(context, request.county_code, _REGISTRARS)

        async def work(session: AsyncSession) -> people_pb2.DismissDuplicateResponse:
            await identities.dismiss_duplicate(
                session,
                caller,
                request.county_code,
                parse_id("duplicate_id", request.duplicate_id),
                shared.evidence_of(request.evidence),
            )
            return people_pb2.DismissDuplicateResponse()

        answer = people_pb2.DismissDuplicateResponse
        return await shared.command(self._database, caller, request, answer, work)

    async def MergePersons(
        self, request: people_pb2.MergePersonsRequest, context: Context
    ) -> people_pb2.MergePersonsResponse:
        """Make one person's record an alias of another's."""
        caller = shared.allowed(context, request.county_code, _REGISTRARS)

        async def work(session: AsyncSession) -> people_pb2.MergePersonsResponse:
            merge_id = await identities.merge_persons(
                session,
                caller,
                request.county_code,
                parse_id("alias_id", request.alias_id),
                parse_id("survivor_id", request.survivor_id),
                reason=request.reason,
                evidence=shared.evidence_of(request.evidence),
            )
            return people_pb2.MergePersonsResponse(merge_id=str(merge_id))

        answer = people_pb2.MergePersonsResponse
        return await shared.command(self._database, caller, request, answer, work)

    async def MergeHouseholds(
        self, request: people_pb2.MergeHouseholdsRequest, context: Context
    ) -> people_pb2.MergeHouseholdsResponse:
        """Make one household's record an alias of another's."""
        caller = shared.allowed(context, request.county_code, _REGISTRARS)

        async def work(session: AsyncSession) -> people_pb2.MergeHouseholdsResponse:
            merge_id = await identities.merge_households(
                session,
                caller,
                request.county_code,
                parse_id("alias_id", request.alias_id),
                parse_id("survivor_id", request.survivor_id),
                reason=request.reason,
                evidence=shared.evidence_of(request.evidence),
            )
            return people_pb2.MergeHouseholdsResponse(merge_id=str(merge_id))

        answer = people_pb2.MergeHouseholdsResponse
        return await shared.command(self._database, caller, request, answer, work)

    async def UndoMerge(
        self, request: people_pb2.UndoMergeRequest, context: Context
    ) -> people_pb2.UndoMergeResponse:
        """Undo a merge."""
        caller = shared.allowed(context, request.county_code, _REGISTRARS)

        async def work(session: AsyncSession) -> people_pb2.UndoMergeResponse:
            kind = await identities.undo_merge(
                session,
                caller,
                request.county_code,
                parse_id("merge_id", request.merge_id),
                reason=request.reason,
                evidence=shared.evidence_of(request.evidence),
            )
            number = shared.enum_to_proto(people_pb2.MergeKind, "MERGE_KIND", kind)
            return people_pb2.UndoMergeResponse(kind=number)

        answer = people_pb2.UndoMergeResponse
        return await shared.command(self._database, caller, request, answer, work)

    async def ResolvePersons(
        self, request: people_pb2.ResolvePersonsRequest, context: Context
    ) -> people_pb2.ResolvePersonsResponse:
        """Find people by what is known of them."""
        caller = shared.allowed(context, request.county_code, _READERS)
        queries = [
            PersonQuery(
                query.identity_number, query.name.strip(), shared.day_or_none(query, "born_on")
            )
            for query in request.queries
        ]
        async with self._database.transaction(caller) as session:
            found = await identities.resolve_persons(
                session, caller, request.county_code, queries, self._keys
            )
        return people_pb2.ResolvePersonsResponse(
            persons=[
                people_pb2.ResolvedPerson(verdict=wire.refused(index, each))
                if isinstance(each, LiandongError)
                else people_pb2.ResolvedPerson(
                    verdict=wire.accepted(index, each.person_id),
                    household_id=str(each.household_id or ""),
                )
                for index, each in enumerate(found)
            ]
        )

    async def DisclosePersons(
        self, request: people_pb2.DisclosePersonsRequest, context: Context
    ) -> people_pb2.DisclosePersonsResponse:
        """Who people are, as far as the caller may know."""
        caller = shared.allowed(context, request.county_code, _READERS)
        async with self._database.transaction(caller) as session:
            found = await identities.disclose_persons(
                session,
                caller,
                request.county_code,
                [parse_id("person_ids", each) for each in request.person_ids],
                [shared.category_of(each) for each in request.categories],
                keys=self._keys,
            )
        return people_pb2.DisclosePersonsResponse(
            persons=[
                people_pb2.DisclosedPerson(verdict=wire.refused(index, each))
                if isinstance(each, LiandongError)
                else _disclosure_to_proto(index, each)
                for index, each in enumerate(found)
            ]
        )


def _line(member: households_pb2.Member) -> Line:
    return Line(
        line_number=0,
        household_number="-",
        village_code="0" * 12,
        relation=member.relation,
        name=member.name,
        identity_number=member.identity_number,
        phone=member.phone,
        registration_status="non_poor",
        honour="",
        labour=member.labour,
        registered_on="",
        unreadable="",
    )


def _seats(messages: Iterable[people_pb2.Seat]) -> list[tuple[UUID, str]]:
    return [(parse_id("person_id", each.person_id), each.relation) for each in messages]


def _duplicate_to_proto(pair: Duplicate) -> people_pb2.Duplicate:
    return people_pb2.Duplicate(
        duplicate_id=str(pair.duplicate_id),
        person_id=str(pair.person_id),
        other_id=str(pair.other_id),
        ground=pair.ground,
        state=shared.enum_to_proto(people_pb2.DuplicateState, "DUPLICATE_STATE", pair.state),
        found_on=wire.date_to_proto(pair.found_on),
    )


def _disclosure_to_proto(index: int, person: Disclosure) -> people_pb2.DisclosedPerson:
    return people_pb2.DisclosedPerson(
        verdict=wire.accepted(index, person.person_id),
        household_id=str(person.household_id or ""),
        name=person.name,
        identity_number=person.identity_number,
        phone=person.phone,
        relation=RELATION_WORDS[person.relation] if person.relation else "",
        labour=LABOUR_WORDS[person.labour] if person.labour else "",
        account_number=person.account_number,
        account_bank=person.account_bank,
        withheld=[shared.category_to_proto(each) for each in person.withheld],
    )
