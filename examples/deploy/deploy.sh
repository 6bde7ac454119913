#!/bin/sh
# Makes a release the current one, and puts the one before back if it fails.
#
# usage: deploy.sh RELEASE        (the directory $APP/releases/RELEASE is complete)
#
# Panzer runs with `--chdir $APP/current`, where `current` is a link, and `--pid $PID`. The
# link is put back on failure, because otherwise a crash or a reboot would start the broken
# release. A second link, `good`, names the release that has served: it is moved on success
# only, so that a deployment whose result is not known is not what the next one goes back to.
#
# Exit status: 0 the new release serves; 1 it has failed, and `current` is as before; 2
# usage, nothing was changed; 3 Panzer is not running, and `current` is as before; 4 nothing
# is known after $PATIENCE seconds, and `current` names the new release.
set -eu
APP=${APP:-/srv/app} PID=${PID:-/run/app/panzer.pid} PATIENCE=${PATIENCE:-120}

refuse() {
	echo "$1" >&2
	exit 2
}

case ${1-} in
'' | . | .. | */*) refuse 'usage: deploy.sh RELEASE, the name of a directory in releases' ;;
esac
new=releases/$1
[ $# -eq 1 ] && [ -d "$APP/$new" ] || refuse "usage: deploy.sh RELEASE: there is no directory $APP/$new"

# One deployment at a time: each puts back what it has found.
exec 9>"$APP/.deploy.lock"
flock -n 9 || refuse 'another deployment is under way'

good=$(readlink "$APP/good" || readlink "$APP/current") ||
	refuse "there is no link $APP/current yet: make it, and start panzer"

# A link is replaced as a whole: there is no moment without one.
point() {
	ln -sfn "$2" "$APP/.$1" && mv -fT "$APP/.$1" "$APP/$1" || refuse "cannot move the link $APP/$1"
}

point good "$good"
[ -d "$APP/good/." ] || refuse "$good is not there any more, so there is nothing to go back to: \
point $APP/good at a release that serves"
point current "$new"
# What ends this script does not end the reload: its result is waited for all the same.
trap '' HUP INT TERM
status=0
panzerctl --pid "$PID" --timeout "$PATIENCE" reload || status=$?
case $status in
0)
	point good "$new"
	echo "$new serves"
	;;
1)
	point current "$good"
	echo "$new has failed, back to $good: see panzerctl status" >&2
	;;
3)
	point current "$good"
	echo "panzer is not running: its next start runs $good" >&2
	;;
4) echo "$new: no result after $PATIENCE s, see panzerctl status" >&2 ;;
*)
	point current "$good"
	echo "panzerctl could not ask for a reload: back to $good" >&2
	status=2
	;;
esac
exit "$status"
