# Licensed under the Apache License, Version 2.0; see LICENSE.
# shellcheck shell=bash
#
# What this system lacks, and how its own package manager brings it. Sourced
# by t/demo and t/check.
#
# The one idea: ask for the thing, not for the package. A compiler, an apxs or
# an httpd that somebody built by hand is as good as one from a package, so
# nothing is installed where the thing is there. Nothing but the packages
# named is installed: no recommendation and no service.

have() { command -v "$1" >/dev/null 2>&1; }

# Whether the C compiler finds a header.
has_header() { have cc && echo "#include <$1>" | cc -E - >/dev/null 2>&1; }

find_httpd() {
    local name

    for name in ${HTTPD:+"$HTTPD"} apache2 httpd \
        /usr/sbin/apache2 /usr/sbin/httpd; do
        if have "$name"; then
            command -v "$name"
            return
        fi
    done
    return 1
}

find_apxs() {
    local name

    for name in ${APXS:+"$APXS"} apxs apxs2 /usr/sbin/apxs /usr/bin/apxs; do
        if have "$name"; then
            command -v "$name"
            return
        fi
    done
    return 1
}

# Compiled in, or as a file.
has_module() {
    "$(find_httpd)" -l 2>/dev/null | grep -qx " *mod_$1\.c" && return
    find_apxs >/dev/null &&
        [ -e "$("$(find_apxs)" -q LIBEXECDIR 2>/dev/null)/mod_$1.so" ]
}

has_mod_ssl() { find_httpd >/dev/null && has_module ssl; }

# A module that tests can do without: an httpd of one's own choice has what it
# has.
has_extra_module() { [ -n "${HTTPD:-}" ] || has_module "$1"; }

# It has no mod_ in its file's name, and MPMs are tried with an httpd of the
# system alone.
has_mpm_itk() {
    [ -n "${HTTPD:-}" ] || { find_apxs >/dev/null &&
        [ -e "$("$(find_apxs)" -q LIBEXECDIR 2>/dev/null)/mpm_itk.so" ]; }
}

# It is preloaded, and lies where no linker looks.
has_faketime() {
    local dir

    for dir in /usr/lib/*/faketime /usr/lib64/faketime /usr/lib/faketime; do
        [ -e "$dir/libfaketime.so.1" ] && return
    done
    return 1
}

# RHEL splits what comes with perl; its package perl has all of it.
has_perl_core() {
    perl -MFile::Temp -MFindBin -MIO::Socket::INET -MJSON::PP \
        -MMIME::Base64 -MTest::More \
        -MTime::HiRes -MTime::Local -e 1
}

# Each line: what to try, the Debian packages, the RHEL and Fedora packages.
build_needs() {
    cat <<'END'
have cc                  | gcc libc6-dev | gcc
has_header stdio.h       | gcc libc6-dev | gcc
have make                | make          | make
have tar                 | tar           | tar
have cmp                 | diffutils     | diffutils
find_apxs                | apache2-dev   | httpd-devel
has_header openssl/ssl.h | libssl-dev    | openssl-devel
END
    # A compiler that was chosen has the name of its package: clang, gcc-14.
    [ -z "${CC-}" ] || echo "have ${CC%% *} | ${CC%% *} | ${CC%% *}"
    [ -x "$1/configure" ] || cat <<'END'
have autoreconf          | autoconf      | autoconf
have automake            | automake      | automake
have libtoolize          | libtool       | libtool
END
}

server_needs() {
    cat <<'END'
find_httpd               | apache2-bin   | httpd
has_mod_ssl              | apache2-bin   | mod_ssl
have openssl             | openssl       | openssl
has_perl_core            | perl          | perl
END
}

test_needs() {
    cat <<'END'
have prove               | perl          | perl-Test-Harness
have setpriv             | util-linux    | util-linux
END
}

# What a test does without by skipping: where a system has no such package, that
# is said, and all goes on.
optional_test_needs() {
    cat <<'END'
has_extra_module md      | apache2-bin   | mod_md
has_extra_module http2   | apache2-bin   | mod_http2
has_mpm_itk              | libapache2-mpm-itk |
have curl                | curl          | curl
have gnutls-cli          | gnutls-bin    | gnutls-utils
have tstclnt             | libnss3-tools |
has_faketime             | libfaketime   |
has_redis                | redis-server  | redis valkey
have memcached           | memcached     | memcached
have nginx               | nginx-light   | nginx
have squid               | squid         | squid
have cfssl               | golang-cfssl  |
END
}

has_redis() { have redis-server || have valkey-server; }

# For their size not among the others.
optional_full_needs() {
    cat <<'END'
have promtool            | prometheus    | golang-github-prometheus
have_browser             | chromium      | chromium
have node                | nodejs        | nodejs
have npm                 | npm           | npm
END
}

# The version of playwright-core that t/510 was tried with.
browser_driver=1.65.1

# bring_browser_driver DIR LOG: have npm put what drives the browser into a
# directory, unless node finds it or it is there already; no browser comes with
# it. Sets PLAYWRIGHT_CORE. Where npm cannot bring it, t/510 says that it is
# skipped.
bring_browser_driver() {
    local dir=$1 log=$2

    have node && have npm && have_browser || return 0
    node -e "require(process.env.PLAYWRIGHT_CORE || 'playwright-core')" \
        2>/dev/null && return 0
    PLAYWRIGHT_CORE=$dir/node_modules/playwright-core
    export PLAYWRIGHT_CORE
    [ ! -e "$PLAYWRIGHT_CORE/package.json" ] || return 0
    if mkdir -p "$dir" && npm install --prefix "$dir" --no-audit --no-fund \
        "playwright-core@$browser_driver" >>"$log" 2>&1 </dev/null; then
        step browser "playwright-core $browser_driver in $dir"
    else
        step browser "npm cannot bring playwright-core; see $log"
    fi
}

have_browser() { have chromium || have chromium-browser || have google-chrome; }

# Whether the compiler is clang, which has sanitizers of its own.
is_clang() {
    case ${CC-} in
    *clang*) ;;
    *) echo __clang__ | ${CC:-cc} -E -P - 2>/dev/null | grep -qx 1 ;;
    esac
}

# has_library NAME...: whether the compiler has one of these.
has_library() {
    local name

    for name; do
        [ ! -e "$(${CC:-cc} -print-file-name="$name" 2>/dev/null)" ] || return 0
    done
    return 1
}

sanitizer_needs() {
    local name=libclang_rt.asan

    if is_clang; then
        echo "has_library $name-$(uname -m).so $name.so |" \
            'libclang-rt-dev | compiler-rt'
    else
        echo 'has_library libasan.so | gcc | libasan libubsan'
    fi
}

# lacking COLUMN: the packages, each once, whose things are not there, from
# lines as above on standard input. Column 2 is Debian's, 3 is RHEL's.
lacking() {
    local column=$1 probe deb rpm packages=

    while IFS='|' read -r probe deb rpm; do
        $probe >/dev/null 2>&1 </dev/null && continue
        [ "$column" = 2 ] && packages+=" $deb" || packages+=" $rpm"
    done
    # shellcheck disable=SC2086 # words are meant
    printf '%s\n' $packages | awk 'NF && !seen[$0]++' | paste -sd ' ' -
}

# as_root LOG COMMAND...: run it as root, its output in LOG. Where we are not
# root and there is no sudo, say what to run and give up.
as_root() {
    local log=$1

    shift
    if [ "$(id -u)" = 0 ]; then
        "$@" >>"$log" 2>&1 </dev/null
    elif have sudo; then
        # shellcheck disable=SC2024 # the log is ours
        sudo "$@" >>"$log" 2>&1
    else
        ask_for "$@"
    fi
}

can_be_root() { [ "$(id -u)" = 0 ] || have sudo; }

ask_for() { die "please run this as root, then try again:" "" "    $*"; }

# Some packages bring a service and would start it.
without_services=$top/t/lib/without-services

has_package_lists() { compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null; }

# Those of the packages that this release has: one name that it has not would make
# apt-get install none.
known_to_apt() {
    local name

    for name; do
        ! apt-cache show --no-all-versions "$name" >/dev/null 2>&1 ||
            echo "$name"
    done
}

apt_install() {
    local log=$1

    shift
    if can_be_root && ! apt-cache show "$@" >/dev/null 2>&1; then
        as_root "$log" apt-get update
    fi
    # shellcheck disable=SC2046 # words are meant
    ! has_package_lists || set -- $(known_to_apt "$@")
    [ $# -gt 0 ] || return 0
    can_be_root || ask_for sh "'$without_services'" apt-get install \
        --no-install-recommends "$@"
    set -- sh "$without_services" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends \
        -o DPkg::Lock::Timeout=300 "$@" # another apt-get may be at work
    # package lists that are too old name files that are gone
    as_root "$log" "$@" ||
        { as_root "$log" apt-get update && as_root "$log" "$@"; }
}

# The same for dnf, which has another word for it from version 5 on.
dnf_install() {
    local log=$1 unknown=--setopt=strict=False

    shift
    case $(dnf --version 2>/dev/null) in
    *dnf5*) unknown=--skip-unavailable ;;
    esac
    as_root "$log" dnf install -y --setopt=install_weak_deps=False "$unknown" "$@"
}

# missing COLUMN LIST...: what the lists of needs lack.
missing() {
    local column=$1 list

    shift
    for list; do $list; done | lacking "$column"
}

# install_packages LOG NEEDS...: bring what the given lists of needs lack. What a
# list named optional_... lacks in the end is told, and nothing more.
install_packages() {
    local log=$1 install='' column=2 packages still list begin=$SECONDS
    local -a required=()

    shift
    for list; do
        case $list in
        optional_*) ;;
        *) required+=("$list") ;;
        esac
    done
    if have apt-get; then
        install=apt_install
    elif have dnf; then
        install=dnf_install column=3
    fi

    packages=$(missing $column "$@")
    if [ -z "$packages" ]; then
        step packages "nothing is missing"
        return
    fi
    [ -n "$install" ] ||
        die "not found, and neither apt-get nor dnf to bring it:" "" \
            "    $packages" "" "(these are the names of the Debian packages)"

    step packages "to install: $packages"
    # shellcheck disable=SC2086 # words are meant
    $install "$log" $packages ||
        die_with "$log" "the packages could not be installed"
    step packages "installed, $(since "$begin")"
    hash -r
    still=$(missing $column "${required[@]}")
    [ -z "$still" ] ||
        die "installed, and still something of these is not found: $still"
    still=$(missing $column "$@")
    [ -z "$still" ] || step packages "not to be had here: $still"
}
