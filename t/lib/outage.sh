# Licensed under the Apache License, Version 2.0; see LICENSE.
# shellcheck shell=bash
#
# t/demo --outage: two httpds with the same directives and certificates, one
# with mod_staple and one without, while their responder misbehaves. What is
# shown is what a client was given and how long it waited, measured; nothing is
# taken from a table of expectations.
#
# Sourced by t/demo, whose CA, httpd and client it uses. Time is compressed: an
# hour of mod_ssl's cache is four seconds here.

story_hour=4
story_failed=

# in_server ssl|staple: let t/demo's functions mean that server.
in_server() {
    root=$scratch/$1
    case $1 in
    ssl) with_staple='' https_port=$ssl_port ;;
    staple) with_staple=yes https_port=$staple_port ;;
    esac
}

start_server() {
    in_server "$1"
    : >"$root/logs/error.log"
    start_httpd
    [ "$1" = staple ] || { other_pid=$httpd_pid httpd_pid=''; }
}

# Both down, both up; the second one's id is where t/demo looks for it.
restart_servers() {
    set -m
    stop "$other_pid"
    stop "$httpd_pid"
    other_pid='' httpd_pid=''
    start_server ssl
    start_server staple
    set +m
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

# look SERVER: one handshake; "good, after 0.02 s".
look() {
    local before after

    in_server "$1"
    before=${EPOCHREALTIME/[.,]/}
    client rsa
    after=${EPOCHREALTIME/[.,]/}
    printf '%s, after %d.%02d s' "$(given)" $(((after - before) / 1000000)) \
        $(((after - before) % 1000000 / 10000))
}

row() { printf '  %-36s  %-24s  %s\n' "$1" "$2" "$3"; }

# scene TEXT: what a client is given now by either.
scene() {
    local ssl staple

    ssl=$(look ssl)
    staple=$(look staple)
    row "$1" "$ssl" "$staple"
    [ "${staple%%,*}" = good ] || story_failed=yes
}

tell_the_story() {
    local server ports

    ports=$(free_ports 4) || die "the system has no free port on 127.0.0.1"
    read -r ocsp_port control_port ssl_port staple_port <<<"$ports"
    make_ca >"$scratch/ca.log" 2>&1 ||
        die_with "$scratch/ca.log" "the CA could not be made"
    set -m
    start_lying_responder
    more_directives="
SSLStaplingStandardCacheTimeout $story_hour
SSLStaplingResponderTimeout 3"
    for server in ssl staple; do
        in_server "$server"
        write_conf
        start_server "$server"
    done
    set +m
    step httpd "two, same certificates and directives; one has mod_staple"

    printf '\n  What a TLS client gets, and how long its handshake takes:\n\n'
    row '' 'mod_ssl alone' 'with mod_staple'
    row '' '-------------' '---------------'
    scene 'the responder answers'
    tell_responder hang-before
    scene 'it hangs'
    sleep "$story_hour"
    scene 'an hour later, its cache comes due'
    scene 'the next visitor'
    restart_servers
    scene 'the server restarts'
    sleep "$story_hour"
    scene 'an hour later, it hangs still'
    tell_responder good
    scene 'the responder is back'
    cat <<END

  The directives of both servers:

    SSLUseStapling on
    SSLStaplingCache "shmcb:logs/stapling_cache(128000)"
    SSLStaplingStandardCacheTimeout $story_hour    (an hour, if it is not set)
    SSLStaplingResponderTimeout 3        (ten seconds, if it is not set)

  "trylater" is an error, which mod_ssl makes up and staples. That is worse than
  no staple: Firefox, for one, refuses the connection. While mod_ssl waits for
  the responder it holds a lock for which other handshakes wait too.
END
    [ -z "$story_failed" ] ||
        die_with "$root/logs/error.log" "with mod_staple, not all were good"
}
