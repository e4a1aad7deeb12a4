"""Enterprises, linkage contracts, societies and projects over gRPC."""

from liandong.households.v1 import linkage_pb2, linkage_pb2_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from services.households.model import Enterprise, LinkageContract, LinkageTerms, Project, Society
from services.households.operations import areas
from services.households.operations import linkage as operations
from services.households.servicer import shared
from services.households.store import linkage as store
from services.kernel import ids, wire
from services.kernel.database import Database
from services.kernel.ids import parse_id
from services.kernel.rpc import Context

_REGISTRARS = ("county_centre", "poverty_office")
_KIND, _MODE, _SOCIETY = "ENTERPRISE_KIND", "LINKAGE_MODE", "SOCIETY_KIND"


class LinkageServicer(linkage_pb2_grpc.LinkageServiceServicer):
    """Entities and how they are bound to households."""

    def __init__(self, db: Database) -> None:
        self._database = db

    async def RegisterEnterprise(
        self, request: linkage_pb2.RegisterEnterpriseRequest, context: Context
    ) -> linkage_pb2.RegisterEnterpriseResponse:
        """Register an entity."""
        caller = shared.allowed(context, request.county_code, _REGISTRARS)
        enterprise = Enterprise(
            enterprise_id=ids.new_id(),
            credit_code=request.credit_code,
            name=request.name.strip(),
            kind=shared.enum_name(linkage_pb2.EnterpriseKind, _KIND, request.kind),
            area_code=request.area_code,
            paired_unit_id=request.paired_unit_id,
            lead_radius_km=request.lead_radius_km,
        )

        async def work(session: AsyncSession) -> linkage_pb2.RegisterEnterpriseResponse:
            evidence = shared.evidence_of(request.evidence)
            enterprise_id = await operations.register_enterprise(
                session, caller, request.county_code, enterprise, evidence
            )
            return linkage_pb2.RegisterEnterpriseResponse(enterprise_id=str(enterprise_id))

        answer = linkage_pb2.RegisterEnterpriseResponse
        return await shared.command(self._database, caller, request, answer, work)

    async def ListEnterprises(
        self, request: linkage_pb2.ListEnterprisesRequest, context: Context
    ) -> linkage_pb2.ListEnterprisesResponse:
        """Entities of an area."""
        caller = shared.allowed(context, request.county_code)
        size = wire.page_size(request.page_size)
        async with self._database.transaction(caller) as session:
            found = await store.list_enterprises(
                session,
                request.county_code,
                within=areas.within(request.county_code, request.within),
                after=shared.start_id(request.page_token),
                limit=size + 1,
            )
        page, token = wire.page_of(found, size, lambda each: each.enterprise_id)
        return linkage_pb2.ListEnterprisesResponse(
            enterprises=[_enterprise_to_proto(each) for each in page],
            next_page_token=token,
        )

    async def SignLinkageContract(
        self, request: linkage_pb2.SignLinkageContractRequest, context: Context
    ) -> linkage_pb2.SignLinkageContractResponse:
        """Record a contract."""
        caller = shared.allowed(context, request.county_code, shared.STATION_ROLES)
        household_ids = sorted(parse_id("household_ids", each) for each in request.household_ids)
        contract = LinkageContract(
            contract_id=ids.new_id(),
            enterprise_id=parse_id("enterprise_id", request.enterprise_id),
            household_ids=tuple(household_ids),
            terms=_terms(request.terms),
            valid_from=shared.day("valid_from", request.valid_from),
            valid_to=shared.day_or_none(request, "valid_to"),
        )

        async def work(session: AsyncSession) -> linkage_pb2.SignLinkageContractResponse:
            evidence = shared.evidence_of(request.evidence)
            contract_id = await operations.sign_contract(
                session, caller, request.county_code, contract, evidence
            )
            return linkage_pb2.SignLinkageContractResponse(contract_id=str(contract_id))

        answer = linkage_pb2.SignLinkageContractResponse
        return await shared.command(self._database, caller, request, answer, work)

    async def EndLinkageContract(
        self, request: linkage_pb2.EndLinkageContractRequest, context: Context
    ) -> linkage_pb2.EndLinkageContractResponse:
        """End a contract before its time."""
        caller = shared.allowed(context, request.county_code, shared.STATION_ROLES)

        async def work(session: AsyncSession) -> linkage_pb2.EndLinkageContractResponse:
            await operations.end_contract(
                session,
                caller,
                request.county_code,
                parse_id("contract_id", request.contract_id),
                ended_on=shared.day("ended_on", request.ended_on),
                reason=request.reason,
                evidence=shared.evidence_of(request.evidence),
            )
            return linkage_pb2.EndLinkageContractResponse()

        answer = linkage_pb2.EndLinkageContractResponse
        return await shared.command(self._database, caller, request, answer, work)

    async def ListLinkageContracts(
        self, request: linkage_pb2.ListLinkageContractsRequest, context: Context
    ) -> linkage_pb2.ListLinkageContractsResponse:
        """Contracts of an entity or of a household."""
        caller = shared.allowed(context, request.county_code)
        size = wire.page_size(request.page_size)
        async with self._database.transaction(caller) as session:
            found = await store.list_contracts(
                session,
                request.county_code,
                enterprise_id=shared.id_or_none("enterprise_id", request.enterprise_id),
                household_id=shared.id_or_none("household_id", request.household_id),
                known_by=shared.known_by(request.as_of, request.HasField("as_of")),
                after=shared.start_id(request.page_token),
                limit=size + 1,
            )
        page, token = wire.page_of(found, size, lambda each: each.contract_id)
        return linkage_pb2.ListLinkageContractsResponse(
            contracts=[_contract_to_proto(each) for each in page],
            next_page_token=token,
        )

    async def RegisterSociety(
        self, request: linkage_pb2.RegisterSocietyRequest, context: Context
    ) -> linkage_pb2.RegisterSocietyResponse:
        """Register a society or group."""
        caller = shared.allowed(context, request.county_code, shared.STATION_ROLES)
        society = Society(
            society_id=ids.new_id(),
            kind=shared.enum_name(linkage_pb2.SocietyKind, _SOCIETY, request.kind),
            name=request.name.strip(),
            village_code=request.village_code,
            institution_id=request.institution_id,
            lead_household_id=shared.id_or_none("lead_household_id", request.lead_household_id),
        )

        async def work(session: AsyncSession) -> linkage_pb2.RegisterSocietyResponse:
            evidence = shared.evidence_of(request.evidence)
            society_id = await operations.register_society(
                session, caller, request.county_code, society, evidence
            )
            return linkage_pb2.RegisterSocietyResponse(society_id=str(society_id))

        answer = linkage_pb2.RegisterSocietyResponse
        return await shared.command(self._database, caller, request, answer, work)

    async def ListSocieties(
        self, request: linkage_pb2.ListSocietiesRequest, context: Context
    ) -> linkage_pb2.ListSocietiesResponse:
        """Societies of an area."""
        caller = shared.allowed(context, request.county_code)
        size = wire.page_size(request.page_size)
        async with self._database.transaction(caller) as session:
            found = await store.list_societies(
                session,
                request.county_code,
                within=areas.within(request.county_code, request.within),
                after=shared.start_id(request.page_token),
                limit=size + 1,
            )
        page, token = wire.page_of(found, size, lambda each: each.society_id)
        return linkage_pb2.ListSocietiesResponse(
            societies=[_society_to_proto(each) for each in page],
            next_page_token=token,
        )

    async def ChangeSocietyMembers(
        self, request: linkage_pb2.ChangeSocietyMembersRequest, context: Context
    ) -> linkage_pb2.ChangeSocietyMembersResponse:
        """Let households join or leave."""
        caller = shared.allowed(context, request.county_code, shared.STATION_ROLES)

        async def work(session: AsyncSession) -> linkage_pb2.ChangeSocietyMembersResponse:
            members = await operations.change_society_members(
                session,
                caller,
                request.county_code,
                parse_id("society_id", request.society_id),
                joining=[
                    (parse_id("household_id", each.household_id), each.share_fen)
                    for each in request.joining
                ],
                leaving=[parse_id("leaving", each) for each in request.leaving],
                changed_on=shared.day("changed_on", request.changed_on),
                evidence=shared.evidence_of(request.evidence),
            )
            return linkage_pb2.ChangeSocietyMembersResponse(members=members)

        answer = linkage_pb2.ChangeSocietyMembersResponse
        return await shared.command(self._database, caller, request, answer, work)

    async def ListSocietyMembers(
        self, request: linkage_pb2.ListSocietyMembersRequest, context: Context
    ) -> linkage_pb2.ListSocietyMembersResponse:
        """The members of a society."""
        caller = shared.allowed(context, request.county_code)
        size = wire.page_size(request.page_size)
        society_id = parse_id("society_id", request.society_id)
        async with self._database.transaction(caller) as session:
            await operations.load_society(session, caller, request.county_code, society_id)
            found = await store.list_society_members(
                session,
                request.county_code,
                society_id,
                known_by=shared.known_by(request.as_of, request.HasField("as_of")),
                after=shared.start_id(request.page_token),
                limit=size + 1,
            )
        page, token = wire.page_of(found, size, lambda each: each.membership_id)
        return linkage_pb2.ListSocietyMembersResponse(
            members=[
                linkage_pb2.SocietyMember(
                    household_id=str(each.household_id),
                    share_fen=each.share_fen,
                    joined_on=wire.date_to_proto(each.joined_on),
                    left_on=wire.date_to_proto(each.left_on),
                )
                for each in page
            ],
            next_page_token=token,
        )

    async def RegisterProject(
        self, request: linkage_pb2.RegisterProjectRequest, context: Context
    ) -> linkage_pb2.RegisterProjectResponse:
        """Put a project into the library, or a new version of one."""
        caller = shared.allowed(context, request.county_code, _REGISTRARS)
        project = _project(request.project)

        async def work(session: AsyncSession) -> linkage_pb2.RegisterProjectResponse:
            evidence = shared.evidence_of(request.evidence)
            made = await operations.register_project(
                session, caller, request.county_code, project, evidence
            )
            return linkage_pb2.RegisterProjectResponse(
                project_id=str(made.project_id), version=made.version
            )

        answer = linkage_pb2.RegisterProjectResponse
        return await shared.command(self._database, caller, request, answer, work)

    async def ListProjects(
        self, request: linkage_pb2.ListProjectsRequest, context: Context
    ) -> linkage_pb2.ListProjectsResponse:
        """The library of projects."""
        caller = shared.allowed(context, request.county_code)
        size = wire.page_size(request.page_size)
        async with self._database.transaction(caller) as session:
            found = await store.list_projects(
                session,
                request.county_code,
                within=areas.within(request.county_code, request.within),
                closed=request.closed,
                after=shared.start_id(request.page_token),
                limit=size + 1,
            )
        page, token = wire.page_of(found, size, lambda each: each.project_id)
        return linkage_pb2.ListProjectsResponse(
            projects=[_project_to_proto(each) for each in page],
            next_page_token=token,
        )


def _terms(message: linkage_pb2.LinkageTerms) -> LinkageTerms:
    return LinkageTerms(
        modes=tuple(
            shared.enum_name(linkage_pb2.LinkageMode, _MODE, mode) for mode in message.modes
        ),
        household_share_ppm=message.household_share_ppm,
        entity_share_ppm=message.entity_share_ppm,
        village_share_ppm=message.village_share_ppm,
        household_majority=message.household_majority,
        entity_control=message.entity_control,
        chair_share_max_ppm=message.chair_share_max_ppm,
        guaranteed_minimum_fen=message.guaranteed_minimum_fen,
        lead_radius_km=message.lead_radius_km,
        paired_unit_id=message.paired_unit_id,
        no_dividend_years=message.no_dividend_years,
    )


def _contract_to_proto(contract: LinkageContract) -> linkage_pb2.LinkageContract:
    terms = contract.terms
    return linkage_pb2.LinkageContract(
        contract_id=str(contract.contract_id),
        enterprise_id=str(contract.enterprise_id),
        household_ids=[str(each) for each in contract.household_ids],
        terms=linkage_pb2.LinkageTerms(
            modes=[
                shared.enum_to_proto(linkage_pb2.LinkageMode, _MODE, mode) for mode in terms.modes
            ],
            household_share_ppm=terms.household_share_ppm,
            entity_share_ppm=terms.entity_share_ppm,
            village_share_ppm=terms.village_share_ppm,
            household_majority=terms.household_majority,
            entity_control=terms.entity_control,
            chair_share_max_ppm=terms.chair_share_max_ppm,
            guaranteed_minimum_fen=terms.guaranteed_minimum_fen,
            lead_radius_km=terms.lead_radius_km,
            paired_unit_id=terms.paired_unit_id,
            no_dividend_years=terms.no_dividend_years,
        ),
        valid_from=wire.date_to_proto(contract.valid_from),
        valid_to=wire.date_to_proto(contract.valid_to),
        provenance=shared.optional_provenance(contract.provenance),
        ended_on=wire.date_to_proto(contract.ended_on),
        end_reason=contract.end_reason,
    )


def _enterprise_to_proto(each: Enterprise) -> linkage_pb2.Enterprise:
    return linkage_pb2.Enterprise(
        enterprise_id=str(each.enterprise_id),
        credit_code=each.credit_code,
        name=each.name,
        kind=shared.enum_to_proto(linkage_pb2.EnterpriseKind, _KIND, each.kind),
        area_code=each.area_code,
        paired_unit_id=each.paired_unit_id,
        lead_radius_km=each.lead_radius_km,
        provenance=shared.optional_provenance(each.provenance),
    )


def _society_to_proto(each: Society) -> linkage_pb2.Society:
    return linkage_pb2.Society(
        society_id=str(each.society_id),
        kind=shared.enum_to_proto(linkage_pb2.SocietyKind, _SOCIETY, each.kind),
        name=each.name,
        village_code=each.village_code,
        institution_id=each.institution_id,
        lead_household_id=str(each.lead_household_id or ""),
        provenance=shared.optional_provenance(each.provenance),
    )


def _project(message: linkage_pb2.Project) -> Project:
    known_id = shared.id_or_none("project.project_id", message.project_id)
    return Project(
        project_id=known_id or ids.new_id(),
        version=1 if known_id else 0,
        name=message.name.strip(),
        industry=message.industry,
        area_code=message.area_code,
        amount_min_fen=message.amount_min_fen,
        amount_max_fen=message.amount_max_fen,
        term_months=message.term_months,
        enterprise_id=shared.id_or_none("project.enterprise_id", message.enterprise_id),
        is_open=message.open,
    )


def _project_to_proto(each: Project) -> linkage_pb2.Project:
    return linkage_pb2.Project(
        project_id=str(each.project_id),
        name=each.name,
        industry=each.industry,
        area_code=each.area_code,
        amount_min_fen=each.amount_min_fen,
        amount_max_fen=each.amount_max_fen,
        term_months=each.term_months,
        enterprise_id=str(each.enterprise_id or ""),
        open=each.is_open,
        provenance=shared.optional_provenance(each.provenance),
    )
