"""Balanced entries by django-hordak: a transaction of three legs, its triggers in PostgreSQL."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from urllib.parse import urlsplit

import django
from django.conf import settings

AT_ONCE = 16


def main(dsn: str, count: int) -> None:
    """Migrate, make three accounts, post."""
    found = urlsplit(dsn)
    settings.configure(
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": found.path.lstrip("/"),
                "USER": found.username,
                "PASSWORD": found.password,
                "HOST": found.hostname,
                "PORT": found.port,
                "CONN_MAX_AGE": None,
            }
        },
        INSTALLED_APPS=["django.contrib.contenttypes", "mptt", "djmoney", "hordak"],
        CURRENCIES=["CNY"],
        DEFAULT_CURRENCY="CNY",
        HORDAK_INTERNAL_CURRENCY="CNY",
        HORDAK_CURRENCIES=["CNY"],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
    )
    django.setup()
    from django.core.management import call_command
    from django.db import connection, transaction
    from hordak.models import Account, AccountType, Leg, Transaction
    from moneyed import Money

    call_command("migrate", verbosity=0)
    bank, loan, household = (
        Account.objects.create(name=name, type=AccountType.asset, currencies=["CNY"])
        for name in ("bank", "loan", "household")
    )

    def post(_: int) -> None:
        with transaction.atomic():
            entry = Transaction.objects.create()
            for account, sides in (
                (bank, {"credit": Money(Decimal(10), "CNY")}),
                (loan, {"debit": Money(Decimal(7), "CNY")}),
                (household, {"debit": Money(Decimal(3), "CNY")}),
            ):
                Leg.objects.create(transaction=entry, account=account, **sides)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(post, range(AT_ONCE)))
        began = time.perf_counter()
        list(pool.map(post, range(count)))
        seconds = time.perf_counter() - began
    posted = Leg.objects.count()
    assert posted == 3 * (count + AT_ONCE), f"{posted} legs"
    connection.close()
    print(count / seconds)  # noqa: T201 - what this program is asked for


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
