"""Django's own test suite against the Postgres of PGHOST and so on."""

import os

DATABASES = {
    alias: {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": os.environ["PGDATABASE"],
        "USER": os.environ["PGUSER"],
        "PASSWORD": os.environ["PGPASSWORD"],
        "HOST": os.environ["PGHOST"],
        "PORT": os.environ["PGPORT"],
        "OPTIONS": {"server_side_binding": True} if alias == "default" and os.environ.get("SERVER_SIDE") else {},
        "TEST": {"NAME": f"test_{alias}"},
    }
    for alias in ("default", "other")
}
TEST_RUNNER = "recorder.Runner"
SECRET_KEY = "tests"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = False
