"""The WSGI application that gunicorn serves."""

import os

from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "homelab.settings")
application = get_wsgi_application()
_ = get_resolver().url_patterns  # imports all views now; the first request would wait for them
