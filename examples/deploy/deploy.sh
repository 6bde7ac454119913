#!/bin/sh
# Makes a release the current one, and puts the one before back if it fails.
#
# usage: deploy.sh RELEASE        (the directory $APP/releases/RELEASE is complete)
#
# Panzer runs with `--chdir $APP/current`, where `current` is a link, and `--pid $PID`. The
# link is put back on failure, because otherwise a crash or a reboot would start the broken
# release. Exit status: 0 the new release serves; 1 it has failed, and the one before
# serves on; 2 usage, nothing was changed; 3 Panzer is not running, nothing was changed; 4
# nothing is known after $PATIENCE seconds, and the link names the new release.
set -eu
APP=${APP:-/srv/app} PID=${PID:-/run/app/panzer.pid} PATIENCE=${PATIENCE:-120}

if [ $# -ne 1 ] || [ ! -d "$APP/releases/$1" ]; then
	echo "usage: deploy.sh RELEASE, where $APP/releases/RELEASE is a directory" >&2
	exit 2
fi
new=releases/$1

# One deployment at a time: each puts back what it has found.
exec 9>"$APP/.deploy.lock"
flock -n 9 || { echo 'another deployment is under way' >&2; exit 2; }

old=$(readlink "$APP/current") || {
	echo "there is no link $APP/current yet: make it, and start panzer" >&2
	exit 2
}

# A link is replaced as a whole: there is no moment without one.
point() {
	ln -sfn "$1" "$APP/next"
	mv -T "$APP/next" "$APP/current"
}

point "$new"
status=0
panzerctl --pid "$PID" --timeout "$PATIENCE" reload || status=$?
case $status in
0) echo "$new serves" ;;
1)
	point "$old"
	echo "$new has failed, $old serves on" >&2
	;;
3)
	point "$old"
	echo "panzer is not running: $old is still what its next start runs" >&2
	;;
4) echo "$new: no result after $PATIENCE s, see panzerctl status" >&2 ;;
*)
	point "$old"
	echo "panzerctl could not ask for a reload: $old is current still" >&2
	status=2
	;;
esac
exit "$status"
