"""The admin site: the same Django admin, with this program's name on it."""

from django.contrib.admin import AdminSite


class HomelabAdmin(AdminSite):
    site_header = "homelab"
    site_title = "homelab"
    index_title = "Records"
    site_url = "/"
    enable_nav_sidebar = False
