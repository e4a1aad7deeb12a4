"""Schema: the compensation fund, who shares a loss, and when."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from services.programmes.schema.insurance import Insurance
from services.programmes.schema.pools import (
    InsurerPool,
    InsurerStabilisation,
    MutualPool,
    VillageFund,
)
from services.programmes.schema.upkeep import (
    CaseDeadlines,
    Contribution,
    CoverExpiry,
    FeeSubsidy,
    PaymentControl,
    TopUp,
)
from services.programmes.schema.values import (
    BorrowerClass,
    Clause,
    Code,
    Days,
    FenAmount,
    Open,
    OrOpen,
    Title,
    duplicates,
)

Share = Annotated[int, Field(ge=1, le=100)]


def _check_ratio(ratio: dict[str, int]) -> dict[str, int]:
    total = sum(ratio.values())
    if total not in (10, 100):
        raise ValueError(f"the shares make {total}, neither 10 nor 100")
    return ratio


Ratio = Annotated[dict[Code, Share], AfterValidator(_check_ratio)]


class PotLayer(Clause):
    """A pot pays up to what it holds."""

    layer: Code
    pot: Code
    # A pot may help before a case can be opened: as soon as the loan is overdue for more than this.
    overdue_more_than_days: Days | None = None


class RatioLayer(Clause):
    """The parties share what is left; declared order breaks ties (S02)."""

    layer: Code
    ratio: Ratio


Layer = PotLayer | RatioLayer


class CompensationTrigger(Clause):
    """A case may be opened once the loan is overdue for more than this (strict), or stands so."""

    overdue_more_than_days: Days | None = None
    # As soon as the loan is non-performing by the programme's definition.
    non_performing: bool = False
    # As soon as its class is on the programme's risk list.
    risk_list: bool = False

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.overdue_more_than_days is None and not (self.non_performing or self.risk_list):
            raise ValueError("a trigger names days overdue, non_performing or risk_list")
        return self


class Member(Clause):
    """One of several who bear a share together; all but the last up to what a cover insures."""

    party: Code
    up_to_cover: Code | None = None


class Together(Clause):
    """A share that one number names for several: in this order (S25)."""

    share: Code
    members: Annotated[tuple[Member, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _members(self) -> Self:
        if twice := duplicates([member.party for member in self.members]):
            raise ValueError(f"{twice[0]} is named twice in {self.share}")
        if any(member.up_to_cover is None for member in self.members[:-1]) or (
            self.members[-1].up_to_cover is not None
        ):
            raise ValueError("every member but the last pays up to a cover; the last pays the rest")
        return self


class SharingModel(Clause):
    """One way to share a loss: for whom, from when, of what, and in which layers."""

    id: Code
    title: Title
    borrower_classes: tuple[BorrowerClass, ...]
    layers: OrOpen[tuple[Layer, ...]]
    trigger: OrOpen[CompensationTrigger]
    base: OrOpen[Literal["principal_and_interest", "principal"]]
    covered_causes: tuple[Code, ...] | None = None
    otherwise_borne_by: Code = "bank"
    # Where a county chooses its ratio, it chooses one of these (S24).
    permitted_ratios: tuple[Ratio, ...] = ()
    together: tuple[Together, ...] = ()
    # What must be shown beside the cause: that collecting has come to an end.
    requires: tuple[Literal["unrecoverable"], ...] = ()

    @model_validator(mode="after")
    def _permitted(self) -> Self:
        if len(self.permitted_ratios) == 1:
            raise ValueError("one permitted ratio is no choice: write it into layers")
        ratios = [list(ratio.items()) for ratio in self.permitted_ratios]
        if not ratios or isinstance(self.layers, Open):
            return self
        last = self.layers[-1] if self.layers else None
        chosen = list(last.ratio.items()) if isinstance(last, RatioLayer) else []
        if chosen not in ratios:
            listed = "; ".join(_words(ratio) for ratio in ratios)
            raise ValueError(f"{_words(chosen) or 'no ratio'} is none of the permitted: {listed}")
        return self

    @model_validator(mode="after")
    def _together(self) -> Self:
        shares = [each.share for each in self.together]
        if twice := duplicates(shares):
            raise ValueError(f"together names {twice[0]} twice")
        if isinstance(self.layers, Open):
            return self
        if unknown := [share for share in shares if share not in self.shares]:
            raise ValueError(f"together names {unknown[0]}, which has no share")
        return self

    @model_validator(mode="after")
    def _layers(self) -> Self:
        if isinstance(self.layers, Open):
            return self
        if not self.layers:
            raise ValueError("a sharing model needs at least one layer")
        if twice := duplicates([layer.layer for layer in self.layers]):
            raise ValueError(f"layer {twice[0]} is declared twice")
        ratios = [index for index, layer in enumerate(self.layers) if isinstance(layer, RatioLayer)]
        if ratios and ratios != [len(self.layers) - 1]:
            raise ValueError("a ratio takes all that is left: it must be the only one, and last")
        if twice := duplicates(list(self.pots)):
            raise ValueError(f"pot {twice[0]} is used twice")
        # What comes back goes to whoever paid: by one name in one case.
        if twice := duplicates([*self.pots, *self.parties]):
            raise ValueError(f"party {twice[0]} bears a loss in two places")
        return self

    @property
    def is_shared(self) -> bool:
        """Whether anybody bears a part beside the one who bears the rest; True while open."""
        return isinstance(self.layers, Open) or bool(
            {*self.parties, *self.pots} - {self.otherwise_borne_by}
        )

    @property
    def shares(self) -> tuple[str, ...]:
        """The names in the ratio, in declared order; none while open."""
        layers = () if isinstance(self.layers, Open) else self.layers
        last = layers[-1] if layers else None
        return tuple(last.ratio) if isinstance(last, RatioLayer) else ()

    @property
    def parties(self) -> tuple[str, ...]:
        """Everybody who shares by ratio, in declared order; nobody while open."""
        inside = {each.share: tuple(m.party for m in each.members) for each in self.together}
        return tuple(party for share in self.shares for party in inside.get(share, (share,)))

    @property
    def pots(self) -> tuple[str, ...]:
        """The pots in order; none while open."""
        layers = () if isinstance(self.layers, Open) else self.layers
        return tuple(layer.pot for layer in layers if isinstance(layer, PotLayer))


class Fund(Clause):
    """The county's compensation fund and its sharing models."""

    multiple: OrOpen[Annotated[int, Field(ge=1, le=100)]]
    scope: Literal["county"] = "county"
    sized_by: Literal["county_demand"] | None = None
    initial_fen: FenAmount | None = None
    min_balance_fen: FenAmount | None = None
    contributions: tuple[Contribution, ...] = ()
    top_up: TopUp | None = None
    custody: OrOpen[Literal["special_account", "per_bank"]]
    # The party that keeps the special account; a county names the institution.
    custodian: Code | None = None
    divided_by: Literal["lending_share"] | None = None
    models: tuple[SharingModel, ...]
    shortfall: Literal["dated_claim"] = "dated_claim"
    recovery: Literal["ratio_paid"] = "ratio_paid"
    payment_control: PaymentControl | None = None
    case_deadlines: CaseDeadlines | None = None
    cover_expiry: CoverExpiry | None = None
    fee_subsidy: FeeSubsidy | None = None
    mutual_pool: MutualPool | None = None
    insurer_pool: InsurerPool | None = None
    insurer_stabilisation: InsurerStabilisation | None = None
    village_fund: VillageFund | None = None

    @model_validator(mode="after")
    def _models(self) -> Self:
        if twice := duplicates([model.id for model in self.models]):
            raise ValueError(f"sharing model {twice[0]} is declared twice")
        pots = {pot for model in self.models for pot in model.pots}
        if self.village_fund and self.village_fund.pot not in pots:
            raise ValueError(f"village_fund.pot {self.village_fund.pot} is in no sharing model")
        return self

    @model_validator(mode="after")
    def _money(self) -> Self:
        if twice := duplicates([each.id for each in self.contributions]):
            raise ValueError(f"contribution {twice[0]} is declared twice")
        amounts = [each.amount_fen for each in self.contributions if each.amount_fen is not None]
        total = sum(amounts)
        if amounts and self.initial_fen is not None and total != self.initial_fen:
            raise ValueError(f"the contributions make {total}, initial_fen is {self.initial_fen}")
        if self.custody == "per_bank" and self.custodian is not None:
            raise ValueError("custody per_bank has no other custodian")
        if self.custody == "special_account" and self.divided_by is not None:
            raise ValueError("only a fund kept per_bank is divided among the banks")
        return self


def check_covers(fund: Fund, insurance: Insurance | None) -> None:
    """A share that pays up to a cover names one of the programme's covers."""
    known_covers = {cover.id for cover in insurance.covers} if insurance else set()
    for model in fund.models:
        for member in (member for each in model.together for member in each.members):
            if member.up_to_cover is not None and member.up_to_cover not in known_covers:
                raise ValueError(
                    f"sharing model {model.id} names {member.up_to_cover}, which is no cover"
                )


def _words(ratio: list[tuple[str, int]]) -> str:
    return " : ".join(f"{party} {share}" for party, share in ratio)
