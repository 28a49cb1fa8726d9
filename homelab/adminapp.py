"""The admin under our own name."""

from django.contrib.admin.apps import AdminConfig as DjangoAdminConfig


class AdminConfig(DjangoAdminConfig):
    default_site = "homelab.adminsite.HomelabAdmin"
