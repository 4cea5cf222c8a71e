# Licensed under the Apache License, Version 2.0; see LICENSE.

# A fleet asks once. Four servers with a hundred certificates start cold at the
# same moment and share by way of a real redis-server, then memcached: the
# responder is asked at most 1.2 times for each certificate in all, a fifth
# server asks nothing, and a sixth staples everything within StapleWarmup
# though the responder is down. A store that takes longer than 300 ms to answer,
# which the servers count, is not waited for; then nothing of that can be seen.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Status;

my $count = $ENV{STAPLE_PRELOAD} ? 10 : 100;    # a start takes long there
my @kinds = grep { Staple::Store->program($_)
                   && has_httpd_module("socache_$_") } qw(redis memcache);
plan skip_all => 'neither redis-server nor memcached with its socache here'
    if !@kinds;

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my @leaves = map { $ca->leaf(name => "host$_.test", ocsp => $responder->url) }
    1 .. $count;
my @names = map { $_->{name} } @leaves;

sub server
{
    my ($store, $kind, $conf) = @_;

    return Staple::Httpd->new(
        modules => ["socache_$kind"], log_level => 'info', ports => 2,
        conf => status_conf() . "\n"
            . ($conf // stapling('StapleShare ' . $store->spec)),
        vhosts => [map { { cert => $_ } } @leaves]);
}

# One look at every certificate of a server; how many had a true staple.
sub stapled
{
    my ($server) = @_;
    my %seen = Staple::Visitors->new(
        $ca, [$server->port], names => \@names, count => $count,
        rate => 1000)
        ->finish->tally;

    return $seen{good};
}

# How often the store kept these servers waiting for too long.
sub late
{
    my $late = 0;

    $late += Staple::Status->new($_)->late_share for @_;
    return $late;
}

sub skip_if_late
{
    my ($how_many, @servers) = @_;
    my $late = late(@servers);

    skip "the store took longer than 300 ms $late times", $how_many if $late;
}

for my $kind (@kinds) {
    my $store = Staple::Store->new($kind);
    my @fleet = map { server($store, $kind) } 1 .. 4;

    $responder->good;
    $responder->tell('listen');
    $responder->tell('reset-counters');
    start_all(@fleet);
    for my $i (0 .. $#fleet) {
        ok(wait_for(sub { stapled($fleet[$i]) == $count }, 30),
           "$kind: server " . ($i + 1) . ' staples everything');
    }
    my $asked = $responder->count;
    cmp_ok($asked, '>=', $count, "$kind: every certificate was asked for");
    SKIP: {
        skip_if_late(1, @fleet);
        cmp_ok($asked, '<=', 1.2 * $count, "$kind: hardly one twice");
    }

    # The fifth says it as mod_ssl has it.
    my $fifth = server($store, $kind, "SSLUseStapling on\nSSLStaplingCache "
                       . $store->spec . "\n");
    $fifth->start;
    ok(wait_for(sub { stapled($fifth) == $count }, 30),
       "$kind: a fifth server staples everything");
    my $before = $asked;
    $asked = $responder->count;
    SKIP: {
        skip_if_late(1, $fifth);
        is($asked, $before, "$kind: and asks nothing");
    }

    $responder->tell('refuse');
    my $sixth = server($store, $kind, stapling('StapleShare ' . $store->spec,
                                               'StapleWarmup 60'));
    $sixth->start;
    my $seen = stapled($sixth);
    $responder->tell('listen');
    my @allowed = late($sixth) ? qr/STP0302|STP0203/ : ();
    SKIP: {
        skip_if_late(2, $sixth);
        is($seen, $count, "$kind: the responder is down: a sixth server "
           . 'staples everything from its first handshake on');
        is($responder->count, $asked, "$kind: it could not ask");
    }
    diag(sprintf '%s: %d certificates, 4 cold servers: %d questions',
         $kind, $count, $before);
    for my $server (@fleet, $fifth, $sixth) {
        ok($server->stop, 'httpd stops in good order');
        $server->log_ok(@allowed);
    }
    $store->end;
}

done_testing;
