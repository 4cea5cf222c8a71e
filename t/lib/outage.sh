# Licensed under the Apache License, Version 2.0; see LICENSE.
# shellcheck shell=bash
#
# t/demo --outage: three httpds with the same certificates while their responder
# misbehaves: mod_ssl with its defaults, mod_ssl as cPanel configures it, and
# mod_staple. What is shown is what a client was given and how long it waited,
# measured; nothing is taken from a table of expectations.
#
# Sourced by t/demo, whose CA, httpd and client it uses. Time is compressed: an
# hour of mod_ssl's cache is four seconds here.

story_hour=4
story_failed=

# What cPanel puts beside the two directives (EasyApache 4).
cpanel_directives='SSLStaplingReturnResponderErrors off
SSLStaplingFakeTryLater off
'

# in_server ssl|cpanel|staple: let t/demo's functions mean that server.
in_server() {
    root=$scratch/$1
    with_staple='' more_directives=$story_directives
    case $1 in
    ssl) https_port=$ssl_port ;;
    cpanel)
        https_port=$cpanel_port
        more_directives=$cpanel_directives$story_directives
        ;;
    staple) with_staple=yes https_port=$staple_port ;;
    esac
}

start_server() {
    in_server "$1"
    : >"$root/logs/error.log"
    start_httpd
    [ "$1" = staple ] || { other_pids+=" $httpd_pid" httpd_pid=''; }
}

# All down, all up; the last one's id is where t/demo looks for it.
restart_servers() {
    local pid

    set -m
    for pid in $other_pids $httpd_pid; do
        stop "$pid"
    done
    other_pids='' httpd_pid=''
    for server in ssl cpanel staple; do
        start_server "$server"
    done
    set +m
}

# ticking COMMAND...: on a terminal, a dot for every second that it takes.
ticking() {
    local ticker

    [ -t 1 ] || { "$@"; return; }
    (while sleep 1; do printf .; done) &
    ticker=$!
    "$@"
    kill "$ticker" 2>/dev/null
    wait "$ticker" 2>/dev/null
    printf '\r\033[K'
}

tell_responder() {
    perl -MIO::Socket::INET -e '
        my $s = IO::Socket::INET->new(PeerAddr => "127.0.0.1",
            PeerPort => shift, Timeout => 5) or exit 1;
        print $s "@ARGV\n"; exit(<$s> =~ /^ok/ ? 0 : 1)' \
        "$control_port" "$@" || die "the responder does not listen"
}

start_lying_responder() {
    "$build/t/tools/responder/responder" --issuer "$ca/intermediate.pem" \
        "$ca/intermediate.key" --port "$ocsp_port" \
        --control-port "$control_port" </dev/null \
        >"$scratch/responder.log" 2>&1 &
    responder_pid=$!
    wait_until 10 grep -q '^ready' "$scratch/responder.log" ||
        die_with "$scratch/responder.log" "the responder does not start"
}

# What the client was given last: good, none, or the error that was stapled.
given() {
    sed -n -e 's/^ *Cert Status: //p' \
        -e 's/^ *OCSP Response Status: \([a-z]*\) (0x[1-9].*/\1/p' \
        -e 's/^OCSP responses*: no response.* sent.*/no staple/p' \
        "$scratch/rsa.client" | head -n 1
}

# microseconds since 1970, in every bash.
now() { perl -MTime::HiRes=time -e 'printf "%d\n", 1e6 * time'; }

# look SERVER: one handshake, in $scratch/SERVER.look: "good, 0.02 s".
look() {
    local before after

    in_server "$1"
    before=$(now)
    client rsa
    after=$(now)
    printf '%s, %d.%02d s' "$(given)" $(((after - before) / 1000000)) \
        $(((after - before) % 1000000 / 10000)) >"$root.look"
}

look_at_all() {
    local server

    for server in ssl cpanel staple; do
        look "$server"
    done
}

row() { printf '  %-21s  %-17s  %-17s  %s\n' "$@"; }

# scene TEXT: what a client is given now by each.
scene() {
    local staple

    ticking look_at_all
    staple=$(cat "$scratch/staple.look")
    row "$1" "$(cat "$scratch/ssl.look")" "$(cat "$scratch/cpanel.look")" \
        "$staple"
    [ "${staple%%,*}" = good ] || story_failed=yes
}

tell_the_story() {
    local server ports

    ports=$(free_ports 5) || die "the system has no free port on 127.0.0.1"
    read -r ocsp_port control_port ssl_port cpanel_port staple_port <<<"$ports"
    make_ca >"$scratch/ca.log" 2>&1 ||
        die_with "$scratch/ca.log" "the CA could not be made"
    set -m
    start_lying_responder
    story_directives="SSLStaplingStandardCacheTimeout $story_hour
SSLStaplingErrorCacheTimeout 1
SSLStaplingResponderTimeout 3"
    for server in ssl cpanel staple; do
        in_server "$server"
        write_conf
        start_server "$server"
    done
    set +m
    step httpd "three, with the same certificates; one has mod_staple"

    printf '\n  What a TLS client gets, and how long its handshake takes:\n\n'
    row '' 'mod_ssl' "mod_ssl, cPanel's" 'mod_staple'
    row '' '-------' '-----------------' '----------'
    scene 'the responder answers'
    tell_responder hang-before
    scene 'it hangs'
    ticking sleep "$story_hour"
    scene 'an hour later'
    scene 'the next visitor'
    ticking restart_servers
    scene 'the server restarts'
    ticking sleep "$story_hour"
    scene 'it hangs on'
    tell_responder good
    scene 'it answers again'
    cat <<END

  The directives of all, where an hour is four seconds:

    SSLUseStapling on
    SSLStaplingCache "shmcb:logs/stapling_cache(128000)"
    SSLStaplingStandardCacheTimeout $story_hour    (default: an hour)
    SSLStaplingErrorCacheTimeout 1       (default: ten minutes; cPanel: 1 minute)
    SSLStaplingResponderTimeout 3        (default: 10 seconds; cPanel: 3)

  cPanel adds SSLStaplingReturnResponderErrors off and SSLStaplingFakeTryLater
  off: then mod_ssl caches no failure, and every handshake waits.

  "trylater" is an error that mod_ssl makes and staples. Firefox refuses the
  connection then. While mod_ssl waits for the responder it holds a lock, and
  other handshakes wait for that lock too.
END
    [ -z "$story_failed" ] ||
        die_with "$root/logs/error.log" "with mod_staple, not all were good"
}
