"""Waterfall: who bears a loss: pots in order up to what they hold, then shares."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from services.kernel.errors import Refused
from services.kernel.money import Fen, split
from services.kernel.values import replace
from services.programmes.schema.fund import CompensationTrigger, PotLayer, SharingModel, Together
from services.programmes.schema.values import known


@dataclass(frozen=True, slots=True)
class Pot:
    """A layer that pays up to the pot's balance."""

    layer: str
    party: str


@dataclass(frozen=True, slots=True)
class Ratio:
    """A layer whose parties share all that is left."""

    layer: str
    shares: tuple[tuple[str, int], ...]


Layer = Pot | Ratio


@dataclass(frozen=True, slots=True)
class Allocation:
    """What one party bears in one layer."""

    layer: str
    party: str
    amount_fen: Fen


@dataclass(frozen=True, slots=True)
class Shared:
    """A loss divided: allocations and the uncovered rest sum to it."""

    allocations: tuple[Allocation, ...]
    pots_after_fen: Mapping[str, Fen]
    uncovered_fen: Fen
    working: str


@dataclass(frozen=True, slots=True)
class Funded:
    """What parties can pay at once, and what stays a dated claim on them (S20)."""

    paid_fen: Mapping[str, Fen]
    unfunded_fen: Mapping[str, Fen]


@dataclass(frozen=True, slots=True)
class Recovery:
    """A recovered amount given back to those who had paid."""

    costs_fen: Fen
    amounts_fen: Mapping[str, Fen]
    to_household_fen: Fen
    working: str


def layers_of(model: SharingModel) -> tuple[Layer, ...]:
    """A pack's layers; refused while open."""
    return tuple(
        Pot(layer.layer, layer.pot)
        if isinstance(layer, PotLayer)
        else Ratio(layer.layer, tuple(layer.ratio.items()))
        for layer in known(model.layers)
    )


def share_loss(
    loss_fen: Fen, layers: Sequence[Layer], balances_fen: Mapping[str, Fen] | None = None
) -> Shared:
    """Run the layers in order; lines of zero are left out."""
    assert loss_fen >= 0
    left = loss_fen
    pots: dict[str, Fen] = {}
    lines: list[Allocation] = []
    for layer in layers:
        if isinstance(layer, Pot):
            held = (balances_fen or {}).get(layer.party, Fen(0))
            part = min(left, held)
            pots[layer.party] = Fen(held - part)
            parts = [(layer.party, part)]
        else:
            amounts = split(left, [share for _, share in layer.shares])
            parts = [(party, part) for (party, _), part in zip(layer.shares, amounts, strict=True)]
        lines += [Allocation(layer.layer, party, Fen(part)) for party, part in parts if part]
        left = Fen(left - sum(part for _, part in parts))
    working = f"{loss_fen} fen: " + ", ".join(f"{line.party} {line.amount_fen}" for line in lines)
    return Shared(tuple(lines), pots, left, working)


def share_loss_by(
    model: SharingModel,
    loss_fen: Fen,
    *,
    balances_fen: Mapping[str, Fen] | None = None,
    cause: str | None = None,
    insured_fen: Mapping[str, Fen] | None = None,
) -> Shared:
    """
    The same by a pack's model; an uncovered cause leaves all to one party (S46).

    A share that several bear together goes to them in order, each up to what is left insured under
    its cover (S25).
    """
    if model.covered_causes is not None and cause not in model.covered_causes:
        alone = Ratio("uncovered_cause", ((model.otherwise_borne_by, 100),))
        return share_loss(loss_fen, [alone])
    shared = share_loss(loss_fen, layers_of(model), balances_fen)
    if not model.together:
        return shared
    inside = {each.share: each for each in model.together}
    lines = tuple(
        part
        for line in shared.allocations
        for part in (
            _among(line, inside[line.party], insured_fen or {}) if line.party in inside else (line,)
        )
    )
    among = ", ".join(f"{line.party} {line.amount_fen}" for line in lines)
    return replace(shared, allocations=lines, working=f"{shared.working}; among them: {among}")


def _among(
    line: Allocation, together: Together, insured_fen: Mapping[str, Fen]
) -> Iterator[Allocation]:
    left = line.amount_fen
    for member in together.members:
        if member.up_to_cover is not None and member.up_to_cover not in insured_fen:
            raise Refused(
                "SUM_INSURED_MISSING",
                f"how much of {line.amount_fen} fen {member.party} bears depends on the sum"
                f" insured under {member.up_to_cover}",
                message_zh="缺少保险金额，无法划分承担份额",
                facts={"cover": member.up_to_cover},
            )
        part = left if member.up_to_cover is None else min(left, insured_fen[member.up_to_cover])
        if part:
            yield Allocation(line.layer, member.party, part)
        left = Fen(left - part)


def case_open(
    trigger: CompensationTrigger, *, overdue_days: int, non_performing: bool, on_risk_list: bool
) -> bool:
    """Whether a case may be opened: days overdue (strict, S01), or how the loan stands (C21)."""
    limit = trigger.overdue_more_than_days
    return (
        (limit is not None and overdue_days > limit)
        or (trigger.non_performing and non_performing)
        or (trigger.risk_list and on_risk_list)
    )


def unproven(model: SharingModel, shown: Collection[str]) -> tuple[str, ...]:
    """What a model requires and nobody has shown; nothing left: the fund may pay."""
    return tuple(each for each in model.requires if each not in shown)


def early_pots(model: SharingModel, *, overdue_days: int) -> tuple[Pot, ...]:
    """The pots that may already help a loan so long overdue, before a case is opened (S28)."""
    return tuple(
        Pot(layer.layer, layer.pot)
        for layer in known(model.layers)
        if isinstance(layer, PotLayer)
        and layer.overdue_more_than_days is not None
        and overdue_days > layer.overdue_more_than_days
    )


def funded(amounts_fen: Mapping[str, Fen], balances_fen: Mapping[str, Fen]) -> Funded:
    """Parties with a balance pay at most that; the others pay in full."""
    paid = {
        party: min(amount, balances_fen.get(party, amount)) for party, amount in amounts_fen.items()
    }
    unfunded = {
        party: Fen(amount - paid[party])
        for party, amount in amounts_fen.items()
        if amount > paid[party]
    }
    return Funded(paid, unfunded)


def share_recovery(
    recovered_fen: Fen, *, costs_fen: Fen, paid: Sequence[tuple[str, Fen]]
) -> Recovery:
    """
    Costs first, then in the ratio in which the parties paid, up to what each paid (S21).

    `paid` is what each has paid and not yet got back; what is left over is the household's.
    """
    costs = min(recovered_fen, costs_fen)
    rest = Fen(recovered_fen - costs)
    owed = [amount for _, amount in paid]
    amounts = owed if rest >= sum(owed) else split(rest, owed)
    back = {party: Fen(part) for (party, _), part in zip(paid, amounts, strict=True)}
    household = Fen(rest - sum(amounts))
    working = f"{recovered_fen} − costs {costs}: {dict(back)}, household {household} fen"
    return Recovery(costs, back, household, working)
