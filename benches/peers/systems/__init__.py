"""All systems, in the order of the tables. One file each; a module names its classes in ALL."""

from . import gunicorn, haproxy, nginx, panzer

ALL = [system for module in (panzer, nginx, haproxy, gunicorn) for system in module.ALL]
