#!/bin/sh
# Installs what a fresh Debian machine lacks for the make targets: hack/deps.sh GROUP...
# With everything there it asks dpkg once and is done; package lists are fetched only if they don't know a package yet.
set -eu

packages() {
	case $1 in
	build) echo gcc libc6-dev make ;;
	test) echo gcc libc6-dev make clang libclang-rt-14-dev e2fsprogs strace curl busybox-static containernetworking-plugins iptables ;;
	demo) echo gcc libc6-dev make busybox-static ;;
	bench) echo gcc libc6-dev make curl busybox-static containernetworking-plugins ;;
	lint) echo gcc libc6-dev make gcc-aarch64-linux-gnu libc6-dev-arm64-cross linux-libc-dev-arm64-cross qemu-user-static ;;
	fuzz) echo gcc libc6-dev make clang libclang-rt-14-dev ;;
	kubelet) echo gcc libc6-dev make busybox-static ;;
	vm) echo gcc libc6-dev make qemu-system-x86 e2fsprogs ;;
	*) echo "hack/deps.sh: unknown group '$1'; there are build, test, demo, bench, lint, fuzz, vm and kubelet" >&2; return 1 ;;
	esac
}

need_go() {
	command -v go >/dev/null || {
		echo "podlet is built with Go 1.26 or later, and there is no 'go' in PATH: see https://go.dev/dl" >&2
		exit 1
	}
}

need_go
wanted=
for group in "$@"; do
	wanted="$wanted $(packages "$group")"
done

missing=
for package in $(printf '%s\n' $wanted | sort -u); do
	state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || state=
	[ "$state" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
	echo "missing packages (names of Debian 12), which only root can install with apt-get:$missing" >&2
	exit 1
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
for package in $missing; do
	if [ -z "$(apt-cache policy "$package" 2>/dev/null | sed -n 's/^  Candidate: //p' | grep -v '^(none)$')" ]; then
		apt-get update -qq
		break
	fi
done
apt-get install -y -qq --no-install-recommends $missing >/dev/null
