"""Offers: whether any programme of a deployment has a product or a cover of some name."""

from collections.abc import Iterator

from services.programmes.loader import Catalogue
from services.programmes.schema.pack import Pack, split_ref


def has_product(catalogue: Catalogue, programme_id: str, product_id: str) -> bool:
    """Whether any version of a programme lends by a product, in any county."""
    return any(
        product.id == product_id
        for pack in _versions(catalogue, programme_id)
        for product in pack.loan_products
    )


def has_cover(catalogue: Catalogue, programme_id: str, cover_id: str) -> bool:
    """Whether any version of a programme insures by a cover, in any county."""
    return any(
        cover.id == cover_id
        for pack in _versions(catalogue, programme_id)
        if pack.insurance is not None
        for cover in pack.insurance.covers
    )


def _versions(catalogue: Catalogue, programme_id: str) -> Iterator[Pack]:
    named = [*catalogue.packs.items(), *catalogue.conditioned.items()]
    named += [(ref, pack) for (_, ref), pack in catalogue.overlaid.items()]
    return (pack for ref, pack in named if split_ref(ref)[0] == programme_id)
