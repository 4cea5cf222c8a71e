# Licensed under the Apache License, Version 2.0; see LICENSE.

# A share that is frozen, dead, full of rubbish or full of lies costs nothing
# but what it would have saved: every certificate is stapled all the same, with
# a response of its own, and no visitor sees anything else.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Status;

use IO::Socket::INET;
use Time::HiRes qw(time);

my @kinds = grep { Staple::Store->program($_)
                   && has_httpd_module("socache_$_") } qw(redis memcache);
plan skip_all => 'neither redis-server nor memcached with its socache here'
    if !@kinds;

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my @leaves = map { $ca->leaf(name => "host$_.test", ocsp => $responder->url) }
    1 .. 10;
my @names = map { $_->{name} } @leaves;

sub server
{
    my ($spec, $kind, @more) = @_;

    return Staple::Httpd->new(
        modules => ["socache_$kind"], conf => stapling("StapleShare $spec",
                                                       @more),
        vhosts => [map { { cert => $_ } } @leaves]);
}

# A look at every certificate: what was not a true staple.
sub odd
{
    my ($httpd) = @_;

    return Staple::Visitors->new($ca, [$httpd], names => \@names, rate => 1000,
                                 count => scalar @names)->finish->odd;
}

# Start it cold; whether everything is stapled in a while, by its own
# responses, and what else visitors saw but that there was nothing yet.
sub staples
{
    my ($httpd, $what) = @_;
    my @odd;

    $httpd->start;
    ok(wait_for(sub { @odd = odd($httpd); !@odd }),
       "$what: every certificate is stapled");
    ok(!grep({ !/ none$/ } @odd), "$what: and was with nothing else before")
        or diag(join "\n", @odd);
    ok($httpd->stop, "$what: httpd stops in good order");
    # What a provider says in its own words.
    $httpd->log_ok(qr/socache|AH00[78]\d\d|AH034\d\d/);
}

# The store filled by a server that comes and goes.
sub filled
{
    my ($kind) = @_;
    my $store = Staple::Store->new($kind);
    my $httpd = server($store->spec, $kind);

    $httpd->start;
    wait_for_staple($httpd, 'good', name => $_) for @names;
    wait_for(sub { @{ [grep { /72$/ } $store->keys] } >= 10 });
    $httpd->stop;
    return $store;
}

# Name, and what becomes of a value.
my $first;
my @poisons = (
    ['nothing'      => sub { '' }],
    ['rubbish'      => sub { 'rubbish' x 300 }],
    ['half of it'   => sub { substr $_[0], 0, length($_[0]) / 2 }],
    ['one bit'      => sub { my $v = $_[0];
                             substr($v, -1) ^= "\x01" if length $v; $v }],
    ['another\'s'   => sub { $first //= $_[0] }],
    ['a megabyte'   => sub { 'x' x 1_000_000 }],
    ['a huge claim' => sub { "STPC1\0\0\0" . ("\xff" x 16) }],
);

for my $kind (@kinds) {
    my $store = filled($kind);

    for my $poison (@poisons) {
        my ($what, $change) = @$poison;

        undef $first;
        $store->poison($change);
        $responder->tell('reset-counters');
        # A claim in every place says that somebody else is asking: it is
        # believed for no longer than an exchange may take.
        staples(server($store->spec, $kind, 'SSLStaplingResponderTimeout 1'),
                "$kind, $what");
    }

    $store->freeze;
    staples(server($store->spec, $kind), "$kind, frozen");
    $store->thaw;

    # Frozen, thawed and killed under a server at work.
    # (A claim that was made meanwhile holds for a second.)
    my $httpd = server($store->spec, $kind, 'SSLStaplingStandardCacheTimeout 1',
                       'SSLStaplingResponderTimeout 1');
    $httpd->start;
    wait_for_staple($httpd, 'good', name => $_) for @names;
    my $visitors = Staple::Visitors->new($ca, [$httpd], names => \@names);
    for my $change (qw(freeze thaw end)) {
        my $before = $responder->count;

        $store->$change;
        ok($responder->wait_for_request(undef, $before, 30),
           "$kind, $change at work: responses are renewed");
        $visitors->wait_for_more(20);
    }
    $httpd->graceful;
    $visitors->wait_for_more(20);
    my @odd = $visitors->stop->odd;
    ok(!@odd, "$kind: no visitor missed a staple") or diag(join "\n", @odd);
    ok($httpd->stop, "$kind: httpd stops in good order");
    $httpd->log_ok(qr/socache|AH00[78]\d\d|AH034\d\d/);

    staples(server($store->spec, $kind), "$kind, dead");
}

# Who refreshes next, after a kill or a restart, asks soon what its predecessor
# has claimed and not finished: after a kill as after a failure, in six seconds at
# most. The claims hold for two minutes, and are not waited for.
for my $kind (@kinds) {
    my $store = Staple::Store->new($kind);
    my $httpd = server($store->spec, $kind, 'StapleWarmup 0',
                       'SSLStaplingResponderTimeout 120');

    for my $how (qw(kill graceful)) {
        $responder->only('hang-before');
        $store->flush;
        unlink $httpd->dir . '/logs/stapling_cache';
        $httpd->start;
        ok(wait_for(sub { $store->keys >= @names }),
           "$kind, $how: everything is claimed, and nobody answers");
        my $refresher = $httpd->wait_for_refresher;
        $responder->good;
        $how eq 'kill' ? kill('KILL', $refresher) : $httpd->graceful;
        ok(wait_for(sub { !odd($httpd) }, 20), "$kind, $how: all stapled soon");
        ok($httpd->stop, "$kind: httpd stops in good order");
    }
    $httpd->log_ok(qr/exit signal Killed/, qr/STP0120/, qr/AH00045/);
}

# Older responses, which are valid still, are offered while the responder is gone:
# they are read, and take the place of none that is newer.
for my $kind (@kinds) {
    my $store = Staple::Store->new($kind);
    my $httpd = Staple::Httpd->new(
        modules => ["socache_$kind"], ports => 2,
        conf => stapling('StapleShare ' . $store->spec,
                         'SSLStaplingStandardCacheTimeout 1',
                         'SSLStaplingErrorCacheTimeout 1',
                         'SSLStaplingResponderTimeout 1') . status_conf(),
        vhosts => [{ cert => $leaves[0] }]);
    my $hits = sub {
        return Staple::Status->new($httpd)->json->{share}{numbers}{hits};
    };

    $responder->only('validity -7200 86400');
    $httpd->start;
    my $first = wait_for_staple($httpd, 'good', name => $names[0])->{der};
    ok(wait_for(sub { grep { /72$/ } $store->keys }), "$kind: a response");
    my %older = map { $_ => $store->get($_) } grep { /72$/ } $store->keys;
    $responder->only('validity -60 86400');
    ok(wait_for(sub { handshake($httpd, name => $names[0])->{der} ne $first }),
       "$kind: ... and a newer one");
    my $newest = handshake($httpd, name => $names[0])->{der};
    my ($key) = keys %older;
    my $is_shared = sub { index($store->get($key) // '', $newest) >= 0 };
    ok(wait_for($is_shared), "$kind: ... which is shared");
    $responder->only('validity -3600 86400');
    my $asked = $responder->count;
    ok(wait_for(sub { $responder->count >= $asked + 4 }, 60),
       "$kind: a replica that lags behind gives an older one");
    ok($is_shared->(), "$kind: ... which is not given to others");
    $newest = handshake($httpd, name => $names[0])->{der};
    $responder->tell('refuse');
    ok($httpd->wait_for_log(qr/STP0302/), "$kind: the responder is gone");
    $store->set($_, $older{$_}) for keys %older;
    my $before = $hits->();
    ok(wait_for(sub { $hits->() > $before + 1 }, 60),
       "$kind: the older one is offered, and read");
    is(handshake($httpd, name => $names[0])->{der}, $newest,
       "$kind: ... and not taken");
    $responder->tell('listen');
    ok($httpd->stop, "$kind: httpd stops in good order");
    $httpd->log_ok(qr/STP020|STP030/, qr/socache|AH00[78]\d\d|AH034\d\d/);
}
$responder->good;

# A store that accepts, and never says a word.
my $silent = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 100)
    // die "no port: $!\n";
staples(server("$_:127.0.0.1:" . $silent->sockport, $_), "$_, silent")
    for @kinds;

done_testing;
