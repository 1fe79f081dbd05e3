"""Django: models, requests with and without persistent connections, on psycopg 3.

    django_load.py persistent|fresh
"""

import os
import sys

import django
import load
from django.conf import settings

settings.configure(
    USE_TZ=True,
    TIME_ZONE="Europe/Berlin",
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": os.environ["PGDATABASE"],
            "USER": os.environ["PGUSER"],
            "PASSWORD": os.environ["PGPASSWORD"],
            "HOST": os.environ["PGHOST"],
            "PORT": os.environ["PGPORT"],
            "CONN_MAX_AGE": None if sys.argv[1] == "persistent" else 0,
            "CONN_HEALTH_CHECKS": True,
            "OPTIONS": {"isolation_level": 2},  # READ COMMITTED
        }
    },
)
django.setup()

from django.db import close_old_connections, connection, models, transaction  # noqa: E402
from django.db.models import Count, F, Max  # noqa: E402
from django.db.models.functions import Now  # noqa: E402


class Account(models.Model):
    owner = models.TextField()
    balance = models.DecimalField(max_digits=12, decimal_places=2)
    tags = models.JSONField()

    class Meta:
        app_label = "orders"
        db_table = "account"


class Entry(models.Model):
    account = models.ForeignKey(Account, models.CASCADE, db_column="account")
    amount = models.DecimalField(max_digits=12, decimal_places=2)
    note = models.TextField()
    at = models.DateTimeField(db_default=Now())

    class Meta:
        app_label = "orders"
        db_table = "entry"


def one_round():
    close_old_connections()
    mine = load.account()
    for number in (mine, load.account()):
        row = Account.objects.get(pk=number)
        load.require(row.owner == f"owner {number}" and row.tags == ["a"], "the wrong row")
    with transaction.atomic():
        entry = Entry.objects.create(account_id=mine, amount=2, note="note")
        load.require(entry.pk > 0, "no key")
        Account.objects.filter(pk=mine).update(balance=F("balance") + 2)
        with connection.cursor() as cursor:
            cursor.execute(load.WORK.format("%s"), [load.STATEMENT])
    found = Entry.objects.filter(account=mine).aggregate(Count("id"), Max("at"))
    load.require(found["id__count"] > 0, "the row is lost")
    close_old_connections()


load.threads(lambda: lambda: one_round)
