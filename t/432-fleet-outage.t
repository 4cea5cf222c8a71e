# Licensed under the Apache License, Version 2.0; see LICENSE.

# While a responder is down and nothing is held, a fleet with a share probes it
# as one server would: each probe is claimed in the share, and what another server
# has claimed is not probed, but for one in five, as a claim may be false. A
# server without the share beside them shows that there was time for probes. When
# the responder answers again, all have their staples.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

plan skip_all => 'no redis-server with its socache here'
    if !Staple::Store->program('redis') || !has_httpd_module('socache_redis');

my $ca = Staple::CA->new;
my $store = Staple::Store->new('redis');
my ($shared, $own) = map { Staple::Responder->new($ca) } 1 .. 2;

sub server
{
    my ($leaf, @conf) = @_;

    return Staple::Httpd->new(
        modules => ['socache_redis'], log_level => 'ssl:warn staple:trace2',
        conf => stapling('SSLStaplingErrorCacheTimeout 600', @conf),
        vhosts => [{ cert => $leaf }]);
}

# How many probes failed, which each server's log says.
sub probes
{
    return scalar(() = join('', map { $_->error_log } @_) =~ /STP0221/g);
}

# The key of the claim of a probe that is under way; they end with a 'c'.
sub claim { return (grep { /63$/ } $store->keys)[0] }

# Wait for that many more probes of the server without a share.
sub wait_for_probes
{
    my ($server, $count) = @_;
    my $wanted = probes($server) + $count;

    return wait_for(sub { probes($server) >= $wanted }, 30 * $count);
}

my $leaf = $ca->leaf(ocsp => $shared->url);
my @fleet = map { server($leaf, 'StapleShare ' . $store->spec) } 1 .. 3;
my $alone = server($ca->leaf(ocsp => $own->url));

$_->tell('http 503') for $shared, $own;
start_all(@fleet, $alone);
ok(wait_for_probes($alone, 2), 'a server alone probes its responder');
ok(wait_for(sub { probes(@fleet) >= 2 }, 60), 'so does a fleet with a share');
ok(wait_for(\&claim, 60), '... and claims the probe there');

# A claim of nobody, which does not end. Who had looked before it was there may
# have put its own in its place: then once more.
my $claim = claim() // wait_for(\&claim, 60);
my $foreign = "STPC1\0\0\0" . "\xff" x 16;
ok(wait_for(sub {
       $store->set($claim, $foreign);
       wait_for_probes($alone, 1);
       return ($store->get($claim) // '') eq $foreign;
   }, 120), 'another server has claimed it');
my $before = probes(@fleet);
ok(wait_for(sub { probes(@fleet) > $before }, 300),
   '... and it is probed all the same, as a claim may be false');
my $alones = probes($alone);
$before = probes(@fleet);
ok(wait_for_probes($alone, 5), '... while the server alone probes on');
cmp_ok(probes(@fleet) - $before, '<', 2 * (probes($alone) - $alones),
       '... but most probes of the three in the fleet are left to it');
is($store->get($claim), $foreign, '... the claim stays');
$store->flush;

$_->tell('http 200') for $shared, $own;
for my $server (@fleet, $alone) {
    is(wait_for_staple($server, 'good', seconds => 60)->{staple}, 'good',
       'the responder is back: stapled');
    ok($server->stop, '... httpd stops in good order');
    $server->log_ok(qr/STP0302/, qr/STP0203/);
}

# A response of another server, found by a probe, says nothing of the responder:
# the probes go on.
$store->flush;
$own->tell('refuse');
my @both = map { $ca->leaf(name => "$_.test", ocsp => $shared->url) }
    qw(shared own);
my $cut_off = Staple::Httpd->new(
    modules => ['socache_redis'], log_level => 'ssl:warn staple:trace2',
    conf    => stapling('SSLStaplingErrorCacheTimeout 600',
                        'SSLStaplingForceURL ' . $own->url,
                        'StapleShare ' . $store->spec),
    vhosts  => [map { { cert => $_ } } @both]);
my $connected = server($both[0], 'StapleShare ' . $store->spec);
$cut_off->start;
ok(wait_for_probes($cut_off, 2), 'a server that reaches no responder probes it');
ok($cut_off->wait_for_log(
       qr/STP0203: shared\.test.*next attempt in (?:[2-9]\d|\d{3}) s/, 120),
   '... so often that a probe comes before the next attempt');
$connected->start;
is(wait_for_staple($cut_off, 'good', name => 'shared.test', seconds => 60)
       ->{staple}, 'good', '... and gets from another one what that has');
ok(wait_for_probes($cut_off, 3), '... and probes on');
unlike($cut_off->error_log, qr/STP0220/,
       '... because its responder did not answer');
for my $server ($cut_off, $connected) {
    ok($server->stop, '... httpd stops in good order');
    $server->log_ok(qr/STP0302/, qr/STP0203/);
}
$store->end;

done_testing;
