# Licensed under the Apache License, Version 2.0; see LICENSE.
# shellcheck shell=bash
#
# A bare Debian system in a directory, and commands in it. Sourced by t/chroots.
#
# A command has mounts and processes of its own: when it ends, what it mounted
# is unmounted and what it started is killed, by the kernel and whatever happened.
# The network is that of this machine.

# The Debian mirror that apt uses, of those that look like one.
debian_mirror() {
    local uri

    uri=$(sed -nE -e 's/^URIs: *([^ ]+\/debian\/?).*/\1/p' \
        -e 's/^deb +(\[[^]]*\] +)?([^ ]+\/debian\/?) .*/\2/p' \
        /etc/apt/sources.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
        head -n 1)
    echo "${MIRROR:-${uri:-http://deb.debian.org/debian}}"
}

# make_chroot SUITE ROOT LOG: a minimal system. An older debootstrap knows neither
# newer suites nor their keys.
make_chroot() {
    local suite=$1 root=$2 log=$3 options=()

    [ -e "/usr/share/debootstrap/scripts/$suite" ] || options=(--no-check-gpg)
    debootstrap "${options[@]}" --variant=minbase "$suite" "$root" \
        "$(debian_mirror)" /usr/share/debootstrap/scripts/sid >"$log" 2>&1 ||
        return
}

# set_up_apt ROOT RECOMMENDS: its apt asks nothing, finds the mirror as this one
# does, and installs recommended packages too if that is true.
set_up_apt() {
    local root=$1 recommends=$2

    cp /etc/apt/apt.conf.d/*proxy* "$root/etc/apt/apt.conf.d/" 2>/dev/null
    cp /etc/resolv.conf /etc/hosts "$root/etc/" 2>/dev/null
    cat >"$root/etc/apt/apt.conf.d/99unattended" <<END
APT::Get::Assume-Yes "true";
APT::Install-Recommends "$recommends";
Acquire::Check-Valid-Until "false";
END
}

# in_chroot ROOT COMMAND...: run it as root, and return its exit status.
in_chroot() {
    # shellcheck disable=SC2016 # the inner shell expands it
    unshare --mount --pid --fork --kill-child --propagation private bash -c '
        root=$1
        shift
        mount -t proc proc "$root/proc" && mount --rbind /dev "$root/dev" ||
            exit 125
        chroot "$root" env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
            HOME=/root LC_ALL=C DEBIAN_FRONTEND=noninteractive "$@" </dev/null
        exit' bash "$@"
}
