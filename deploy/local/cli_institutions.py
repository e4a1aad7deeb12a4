"""The `liandong institutions` commands: who takes part, with which certificates, keys, limits."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import grpc
import typer
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from google.protobuf.message import Message
from liandong.gateway.v1 import gateway_pb2, gateway_pb2_grpc, institutions_pb2_grpc
from liandong.gateway.v1 import institutions_pb2 as pb
from rich.console import Console
from rich.table import Table

from deploy.local import places
from deploy.local.ca import LocalCA, institution_id
from deploy.local.cli_run import Folder, run
from deploy.local.client import Institution, credentials_in
from deploy.local.places import write_file
from deploy.local.remote import Remote
from gateway.identity import Certificate
from services.kernel import wire
from services.kernel.status import reason_of
from services.programmes import loader
from services.programmes.schema import deployment

HOUR = 3_600
PAGE = 500

institutions = typer.Typer(no_args_is_help=True, help="Institutions: who may call, and how.")
console = Console()

Id = Annotated[str, typer.Argument(help="The institution's id.")]
Post = Annotated[int, typer.Option("--post", help="Which of the operator's persons acts.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept.")]
Own = Annotated[
    Path | None,
    typer.Option("--certificate", help="A certificate (PEM) that your own authority issued."),
]
Overlap = Annotated[float, typer.Option("--overlap-hours", help="How long the others still serve.")]


class Desk:
    """The operator, calling as one of its persons."""

    def __init__(self, client: Institution, remote: Remote, post: int) -> None:
        self.remote = remote
        self._client = client
        self._post = post

    async def ask(self, method: str, **values: Any) -> Any:
        """One method of the registry; a command gets a request id."""
        request_type = getattr(pb, f"{method}Request")
        if "request_id" in request_type.DESCRIPTOR.fields_by_name:
            values["request_id"] = str(uuid.uuid4())
        stub = institutions_pb2_grpc.InstitutionsServiceStub
        return await self._client.call(stub, method, request_type(**values), post=self._post)


@asynccontextmanager
async def desk(folder: str, post: int) -> AsyncIterator[Desk]:
    """The operator's connection to a platform."""
    remote = Remote.read(places.find().folder(folder))
    async with remote.institution(remote.with_role("operator")) as client:
        yield Desk(client, remote, post)


@institutions.command()
def add(
    file: Annotated[Path, typer.Argument(help="YAML of institutions, as a deployment's.")],
    *,
    folder: Folder = "main",
    post: Post = 1,
) -> None:
    """Enter institutions with exactly these persons, and the contracts that are named."""
    found = loader.load_texts({str(file): file.read_text(encoding="utf-8")}).institutions

    async def work() -> None:
        entries = [entry(one) for one in found.values()]
        async with desk(folder, post) as operator:
            for start in range(0, len(entries), PAGE):
                answer = await operator.ask(
                    "EnterInstitutions", institutions=entries[start : start + PAGE]
                )
                console.print(f"added or changed: {', '.join(answer.changed) or 'none'}")

    run(work())


@institutions.command()
def issue(
    institution: Id,
    *,
    folder: Folder = "main",
    post: Post = 1,
    certificate: Own = None,
    to: Annotated[
        Path | None,
        typer.Option(help="A folder for what the institution needs to call: copies, and where."),
    ] = None,
) -> None:
    """Sign a certificate with the local authority, or take one of your own, and register it."""
    if certificate is not None and to is not None:
        raise typer.BadParameter("only what is signed here can be handed over with --to")

    async def work() -> None:
        async with desk(folder, post) as operator:
            if to is not None:
                _hand_over(operator.remote, institution, to)
            path = certificate or _authority(operator.remote).institution(institution).cert
            answer = await operator.ask(
                "RegisterCertificate",
                institution_id=institution,
                certificate_pem=path.read_text(encoding="ascii"),
            )
            _say_certificate(answer.certificate, path)

    run(work())


@institutions.command()
def rotate(
    institution: Id,
    *,
    folder: Folder = "main",
    post: Post = 1,
    certificate: Own = None,
    overlap_hours: Overlap = 24.0,
) -> None:
    """Register a new certificate; those before it serve on for the overlap, and then end."""

    async def work() -> None:
        async with desk(folder, post) as operator:
            path = certificate
            if path is None:
                path = await _rotated(operator, institution)
            answer = await operator.ask(
                "RegisterCertificate",
                institution_id=institution,
                certificate_pem=path.read_text(encoding="ascii"),
                others_end_after_seconds=round(overlap_hours * HOUR),
            )
            _say_certificate(answer.certificate, path)

    run(work())


@institutions.command()
def revoke(
    institution: Id,
    *,
    reason: Reason,
    fingerprint: Annotated[str, typer.Option(help="SHA-256 of the certificate's DER.")] = "",
    serial: Annotated[str, typer.Option(help="Its serial number, hexadecimal.")] = "",
    certificate: Own = None,
    folder: Folder = "main",
    post: Post = 1,
) -> None:
    """Revoke a certificate for ever; it stops opening the door within seconds."""
    if sum(map(bool, (fingerprint, serial, certificate))) != 1:
        raise typer.BadParameter("name the certificate by --fingerprint, --serial or --certificate")

    async def work() -> None:
        async with desk(folder, post) as operator:
            named = fingerprint.replace(":", "").lower()
            if certificate is not None:
                named = Certificate.read(certificate.read_bytes()).fingerprint
            elif serial:
                named = await _by_serial(operator, institution, serial)
            await operator.ask(
                "RevokeCertificate", institution_id=institution, fingerprint=named, reason=reason
            )
            console.print(f"revoked {named}")

    run(work())


@institutions.command(name="key")
def key_command(
    institution: Id,
    public: Annotated[Path, typer.Argument(help="An Ed25519 public key (PEM).")],
    *,
    folder: Folder = "main",
    post: Post = 1,
    overlap_hours: Annotated[
        float | None, typer.Option(help="The others end after so many hours; else they stay.")
    ] = None,
) -> None:
    """Register a key with which an institution signs its persons' tokens."""
    found = serialization.load_pem_public_key(public.read_bytes())
    if not isinstance(found, ed25519.Ed25519PublicKey):
        raise typer.BadParameter(f"{public} is not an Ed25519 public key")
    raw = found.public_bytes_raw()

    async def work() -> None:
        async with desk(folder, post) as operator:
            seconds = None if overlap_hours is None else round(overlap_hours * HOUR)
            answer = await operator.ask(
                "RegisterPersonKey",
                institution_id=institution,
                public_key=raw,
                others_end_after_seconds=seconds,
            )
            console.print(f"kid {answer.key_id}")

    run(work())


@institutions.command(name="revoke-key")
def revoke_key(
    institution: Id,
    key_id: Annotated[str, typer.Argument(help="The key's id (kid).")],
    *,
    reason: Reason,
    folder: Folder = "main",
    post: Post = 1,
) -> None:
    """Revoke a key for ever, and every token that it signed."""

    async def work() -> None:
        async with desk(folder, post) as operator:
            await operator.ask(
                "RevokePersonKey", institution_id=institution, key_id=key_id, reason=reason
            )

    run(work())


@institutions.command()
def suspend(institution: Id, *, reason: Reason, folder: Folder = "main", post: Post = 1) -> None:
    """Ask that an institution be suspended; a second person confirms the order."""
    run(_propose(institution, reason, folder, post, active=False))


@institutions.command()
def resume(institution: Id, *, reason: Reason, folder: Folder = "main", post: Post = 1) -> None:
    """Ask that an institution may call again; a second person confirms the order."""
    run(_propose(institution, reason, folder, post, active=True))


@institutions.command()
def confirm(
    order: Annotated[str, typer.Argument(help="The order's id.")],
    *,
    drop: Annotated[bool, typer.Option(help="Drop it instead.")] = False,
    folder: Folder = "main",
    post: Post = 2,
) -> None:
    """Decide an order to suspend or resume, as another person than the one who gave it."""

    async def work() -> None:
        async with desk(folder, post) as operator:
            answer = await operator.ask("DecideStanding", order_id=order, confirm=not drop)
            state = "may call" if answer.active else "is suspended"
            console.print(f"{answer.institution_id} {state}")

    run(work())


@institutions.command()
def limit(
    institution: Id,
    scope: Annotated[str, typer.Argument(help="read, command, bulk, stream or a method.")],
    *,
    per_second: int = 100,
    burst: int = 200,
    per_day: int = 1_000_000,
    running: int = 64,
    clear: Annotated[bool, typer.Option(help="Back to the role's limit.")] = False,
    folder: Folder = "main",
    post: Post = 1,
) -> None:
    """Give an institution a limit of its own in place of its role's."""
    made = pb.Limit(
        calls_per_second=per_second, burst=burst, calls_per_day=per_day, running_max=running
    )

    async def work() -> None:
        async with desk(folder, post) as operator:
            given = None if clear else made
            await operator.ask("SetLimit", institution_id=institution, scope=scope, limit=given)

    run(work())


@institutions.command(name="list")
def list_command(
    institution: Annotated[str, typer.Argument(help="Only this one, with all there is.")] = "",
    *,
    folder: Folder = "main",
) -> None:
    """The registry."""

    async def work() -> None:
        async with desk(folder, 1) as operator:
            found = await _registrations(operator, institution)
        table = Table("institution", "role", "county", "may call", "certificates", "keys", "limits")
        for one in found:
            standing = "yes" if one.active else f"suspended: {one.standing_reason}"
            table.add_row(
                one.institution_id,
                one.role,
                one.county_code,
                standing if one.contract_in_force else f"{standing}, no contract in force",
                "\n".join(_certificate_line(each) for each in one.certificates),
                "\n".join(f"{k.key_id[:12]}… {k.revoked_reason}" for k in one.person_keys),
                "\n".join(each.scope for each in one.limits),
            )
        console.print(table)

    run(work())


@institutions.command()
def status(institution: Id, *, folder: Folder = "main", post: Post = 1) -> None:
    """How an institution stands, as it sees it itself."""

    async def work() -> None:
        remote = Remote.read(places.find().folder(folder))
        own = credentials_in(Path(remote.certificates), institution, remote.env)
        async with Institution(remote.gateway, own, institution) as client:
            answer = await client.call(
                gateway_pb2_grpc.GatewayServiceStub,
                "GetStatus",
                gateway_pb2.GetStatusRequest(),
                post=post,
            )
        for each in answer.limits:
            console.print(f"{each.scope}: {each.calls_today} today, {each.calls_left} left")
        for refusal in answer.refusals:
            console.print(f"refused {refusal.calls}: {refusal.reason}")
        console.print(f"calls today {answer.calls_today}, refused {answer.refused_today}")
        for reader in answer.feed_readers:
            more = " and more" if reader.more_waiting else ""
            console.print(f"feed {reader.reader}: {reader.waiting_events}{more} events wait")
        for pause in answer.pauses:
            console.print(f"{pause.kind} paused: {pause.reason}")
        console.print(f"certificate until {answer.certificate_ends_at.ToJsonString()}")
        for ending in answer.ending_certificates:
            console.print(f"ends soon: {ending.fingerprint[:12]} {ending.not_after.ToJsonString()}")

    run(work())


async def _rotated(operator: Desk, institution: str) -> Path:
    """A new pair of the local authority; the old one is registered, so that it can end."""
    authority = _authority(operator.remote)
    before = authority.institution(institution).cert.read_text(encoding="ascii")
    try:
        await operator.ask(
            "RegisterCertificate", institution_id=institution, certificate_pem=before
        )
    except grpc.aio.AioRpcError as error:
        if reason_of(error) != "CERTIFICATE_KNOWN":
            raise
    return authority.rotate(institution_id(operator.remote.env, institution)).cert


async def _propose(institution: str, reason: str, folder: str, post: int, *, active: bool) -> None:
    async with desk(folder, post) as operator:
        answer = await operator.ask(
            "ProposeStanding", institution_id=institution, active=active, reason=reason
        )
        console.print(f"order {answer.order_id}: a second person confirms it within a day")


async def _registrations(operator: Desk, institution: str) -> list[pb.Registration]:
    found: list[pb.Registration] = []
    token = ""
    while True:
        answer = await operator.ask(
            "ListRegistrations", institution_id=institution, page_size=PAGE, page_token=token
        )
        found.extend(answer.registrations)
        token = answer.next_page_token
        if not token:
            return found


async def _by_serial(operator: Desk, institution: str, serial: str) -> str:
    wanted = serial.replace(":", "").lower().lstrip("0")
    for one in await _registrations(operator, institution):
        for each in one.certificates:
            if each.serial == wanted:
                return each.fingerprint
    raise LookupError(f"{institution} has no registered certificate with serial number {serial}")


def _authority(remote: Remote) -> LocalCA:
    folder = Path(remote.certificates)
    if not (folder / "ca-key.pem").exists():
        raise LookupError("no local authority here: bring a certificate with --certificate")
    return LocalCA(folder, remote.env)


def _hand_over(remote: Remote, institution: str, to: Path) -> None:
    """Put the institution's certificate and key, the authority and the addresses into a folder."""
    made = _authority(remote).institution(institution)
    to.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, path in (("cert.pem", made.cert), ("key.pem", made.key), ("ca.pem", made.ca)):
        write_file(to / name, path.read_text(encoding="ascii"), mode=0o600)
    write_file(to / "gateway", f"{remote.gateway}\n", mode=0o600)
    write_file(to / "nats", f"{remote.nats_url}\n", mode=0o600)


def _say_certificate(found: pb.ClientCertificate, path: Path) -> None:
    console.print(f"{path}\nfingerprint {found.fingerprint}\nserial {found.serial}")
    console.print(f"until {found.not_after.ToJsonString()}")


def _certificate_line(found: pb.ClientCertificate) -> str:
    state = f"revoked: {found.revoked_reason}" if found.revoked_reason else ""
    if not state and found.HasField("valid_until"):
        state = f"ends {found.valid_until.ToJsonString()}"
    return f"{found.fingerprint[:12]}… {state or found.not_after.ToJsonString()}"


def entry(one: deployment.Institution) -> pb.InstitutionEntry:
    """An institution of a file, for the wire."""
    made = pb.InstitutionEntry(
        institution_id=one.institution_id,
        name=one.name.en,
        name_zh=one.name.zh,
        role=one.role.value,
        county_code=one.county_code,
        areas=one.areas,
    )
    for person in one.persons:
        _dated(
            made.persons.add(
                person_id=person.person_id,
                title=person.title.en,
                title_zh=person.title.zh,
                duty=person.duty,
                post=person.post,
                deputy_id=person.deputy_id or "",
            ),
            person,
        )
    for contract in one.contracts:
        _dated(made.contracts.add(contract_id=contract.contract_id), contract)
    return made


def _dated(message: Message, span: deployment.Span) -> None:
    for name in ("valid_from", "valid_to"):
        day = wire.date_to_proto(getattr(span, name))
        if day is not None:
            getattr(message, name).CopyFrom(day)
