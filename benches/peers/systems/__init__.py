"""All systems, in the order of the tables. One file each; a module names its classes in ALL."""

from . import (gunicorn, haproxy, nginx, panzer, php_fpm, pm2, puma, runit, s6, start_server,
               supervisord, unicorn, uwsgi)

ALL = [system for module in (panzer, nginx, haproxy, unicorn, puma, gunicorn, uwsgi, php_fpm,
                             start_server, s6, runit, supervisord, pm2) for system in module.ALL]
