#!/bin/sh
# Starts and stops a container engine for the tests, below one directory.
#
#   scripts/dockerd.sh start [DIR]   an engine that answers already is used as it is
#   scripts/dockerd.sh stop  [DIR]   ends only what start began with the same DIR
#   scripts/dockerd.sh host  [DIR]   prints the DOCKER_HOST to use
#
# DIR defaults to .tools/docker beside this script's parent. The engine listens
# on the default socket where that is free, else on DIR/docker.sock.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
verb=${1:-}
dir=${2:-$root/.tools/docker}
default_socket=/var/run/docker.sock
pid_file=$dir/dockerd.pid
log_file=$dir/dockerd.log

say() { printf 'dockerd.sh: %s\n' "$*" >&2; }

# answers HOST: whether an engine answers there.
answers() { DOCKER_HOST=$1 timeout 10 docker version --format '{{.Server.APIVersion}}' >/dev/null 2>&1; }

# ours: whether the recorded process is alive and still is the engine that we
# started; a process number may have been given to somebody else since.
ours() {
	[ -s "$pid_file" ] || return 1
	pid=$(cat "$pid_file")
	[ -r "/proc/$pid/cmdline" ] || return 1
	tr '\0' ' ' <"/proc/$pid/cmdline" | grep -qF -- "--data-root=$dir/data"
}

# current: the address of an engine that answers, or nothing.
current() {
	if [ -n "${DOCKER_HOST:-}" ] && answers "$DOCKER_HOST"; then
		echo "$DOCKER_HOST"
	elif answers "unix://$default_socket"; then
		echo "unix://$default_socket"
	elif [ -S "$dir/docker.sock" ] && answers "unix://$dir/docker.sock"; then
		echo "unix://$dir/docker.sock"
	fi
}

install_engine() {
	command -v dockerd >/dev/null 2>&1 && command -v docker >/dev/null 2>&1 && return
	if [ "$(id -u)" != 0 ]; then
		say "dockerd is not installed; install docker.io as root, or set DOCKER_HOST"
		exit 1
	fi
	say "installing docker.io"
	apt-get update -qq >&2
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends docker.io iptables >&2
	# Some distributions keep the client in a package of its own.
	command -v docker >/dev/null 2>&1 ||
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends docker-cli >&2
}

start() {
	install_engine
	host=$(current)
	if [ -n "$host" ]; then
		say "using the engine at $host"
		return
	fi
	if [ "$(id -u)" != 0 ]; then
		say "no engine answers and only root can start one; set DOCKER_HOST, or run this as root"
		exit 1
	fi
	mkdir -p "$dir"
	dir=$(cd "$dir" && pwd)
	if ours; then
		say "an engine of ours (process $(cat "$pid_file")) runs and does not answer; see $log_file"
		exit 1
	fi
	socket=$default_socket
	# dockerd replaces a socket file that nobody listens on. One where somebody
	# does listen, though not as an engine that we may use, is left alone.
	if [ -e "$default_socket" ] &&
		! timeout 5 docker -H "unix://$default_socket" version 2>&1 | grep -qi 'cannot connect\|refused'; then
		socket=$dir/docker.sock
	fi
	rm -f "$pid_file"
	# A new session keeps the engine out of reach of a terminal's Ctrl-C.
	setsid dockerd \
		--data-root="$dir/data" --exec-root="$dir/exec" \
		--pidfile="$pid_file" --host="unix://$socket" \
		--storage-driver=overlay2 --log-level=warn \
		</dev/null >>"$log_file" 2>&1 &
	tries=0
	until answers "unix://$socket"; do
		tries=$((tries + 1))
		if [ $tries -gt 150 ]; then
			say "the engine did not become ready; the end of $log_file:"
			tail -n 20 "$log_file" >&2
			exit 1
		fi
		if [ $tries -gt 10 ] && ! ours; then
			say "the engine ended; the end of $log_file:"
			tail -n 20 "$log_file" >&2
			exit 1
		fi
		sleep 0.2
	done
	say "started an engine at unix://$socket"
}

stop() {
	[ -d "$dir" ] && dir=$(cd "$dir" && pwd)
	if ! ours; then
		say "no engine of ours below $dir"
		return
	fi
	pid=$(cat "$pid_file")
	kill "$pid"
	tries=0
	while [ -e "/proc/$pid" ]; do
		tries=$((tries + 1))
		if [ $tries -gt 150 ]; then
			say "process $pid does not end"
			exit 1
		fi
		sleep 0.2
	done
	say "stopped the engine (process $pid)"
}

case $verb in
start) start ;;
stop) stop ;;
host) current ;;
*)
	say "usage: scripts/dockerd.sh start|stop|host [DIR]"
	exit 2
	;;
esac
