<?php
// The handler for php-fpm: 12 bytes, the version and the pid.
header("Content-Type: text/plain");
header("Content-Length: 12");
printf("%04d %7d", getenv("VERSION"), getmypid());
