"""`python -m tests.crash`: the server of `child`; Django is set up before anything of ours is imported."""

import os

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
django.setup()

from tests.crash import child  # noqa: E402

child.main()
