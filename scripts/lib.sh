# SPDX-License-Identifier: GPL-2.0-only
# What the build scripts share. To be sourced by bash, with $top set to the
# checkout's root.

me=${0##*/}
build=${BUILD:-$top/build}
distfiles=${DISTFILES:-${XDG_CACHE_HOME:-$HOME/.cache}/ipportfw/distfiles}
export LC_ALL=C

say() { echo "$*" >&2; }
die() { echo "$me: $*" >&2; exit 1; }

# step WHAT LOG COMMAND...: runs COMMAND with its output in LOG, shows WHAT and
# a sign of life while it runs, and how long it took. If it fails: the log's
# end, and exit 1. Progress goes to standard error, so that standard output
# stays free for a result.
step() {
	local what=$1 log=$2 begin=$SECONDS shown=0 pid
	shift 2
	mkdir -p "${log%/*}"
	"$@" >"$log" 2>&1 </dev/null &
	pid=$!
	while kill -0 "$pid" 2>/dev/null; do
		if [ -t 2 ]; then
			printf '\r  %s … %ds ' "$what" $((SECONDS - begin)) >&2
		elif [ $((SECONDS - begin)) -ge $shown ]; then
			say "  $what … $((SECONDS - begin))s"
			shown=$((SECONDS - begin + 5))
		fi
		sleep 0.2
	done
	if wait "$pid"; then
		[ -t 2 ] && printf '\r' >&2
		say "  $what: done in $((SECONDS - begin))s"
	else
		[ -t 2 ] && printf '\n' >&2
		tail -n 30 "$log" >&2
		die "$what failed; the whole log is $log"
	fi
}

# key FILE_OR_DIR_OR_WORD...: one hash over all of them: the contents of files
# and of all files below directories, other words as they are.
key() {
	local x
	for x; do
		if [ -d "$x" ]; then
			(cd "$x" && find . -type f | sort | xargs -r -d '\n' sha256sum)
		elif [ -f "$x" ]; then
			sha256sum <"$x"
		else
			echo "$x"
		fi
	done | sha256sum | cut -c1-64
}

# once DIR KEY COMMAND...: makes DIR by COMMAND unless it is already there as
# made from KEY. COMMAND finds in $out the (new, empty) folder to fill; DIR is
# replaced only when COMMAND has succeeded, and two at a time wait. The key is
# kept beside DIR, in DIR.key.
once() {
	local dir=$1 key=$2 lock
	shift 2
	mkdir -p "${dir%/*}"
	exec {lock}>"$dir.lock"
	flock "$lock"
	if [ ! -d "$dir" ] || [ "$(cat "$dir.key" 2>/dev/null)" != "$key" ]; then
		out=$dir.new
		rm -rf "$out"
		mkdir "$out"
		"$@"
		rm -rf "$dir.key" "$dir"
		mv "$out" "$dir"
		echo "$key" >"$dir.key"
	fi
	exec {lock}>&-
}

# supported VERSION: dies if it is no kernel that we can build.
supported() {
	[[ $1 =~ ^2\.0\.(2[7-9]|3[0-9]|40)$ ]] ||
		die "'$1' is not supported: 2.0.27 to 2.0.40 are"
}

# hooks_for VERSION: the file of patches/ for that kernel. The names are
# 2.0.FIRST-LAST.patch or 2.0.ONLY.patch.
hooks_for() {
	local file range n=${1#2.0.}
	supported "$1"
	for file in "$top"/patches/2.0.*.patch; do
		range=${file##*/2.0.}
		range=${range%.patch}
		if [ "$n" -ge "${range%-*}" ] && [ "$n" -le "${range#*-}" ]; then
			echo "$file"
			return
		fi
	done
	die "patches/ has none for Linux $1"
}

# pristine_version TREE: the version of a kernel tree, from its Makefile. Dies if
# it is none, or is already patched.
pristine_version() {
	local v
	[ -d "$1" ] || die "$1 is no folder with a kernel tree (2.0.27 to 2.0.40 are supported)"
	v=$(sed -n 's/^\(VERSION\|PATCHLEVEL\|SUBLEVEL\) *= *//p' \
		"$1/Makefile" 2>/dev/null | head -n 3 | paste -sd.) || true
	[[ $v == 2.0.* && -d $1/net/ipv4 ]] ||
		die "$1 is not a Linux 2.0 kernel tree (2.0.27 to 2.0.40 are supported)"
	[ ! -e "$1/include/linux/ip_portfw.h" ] ||
		die "$1 is already patched: it has include/linux/ip_portfw.h"
	echo "$v"
}
