# Licensed under the Apache License, Version 2.0; see LICENSE.

# While a responder is down and nothing is held, a fleet with a share probes it
# about as often as one server would: each probe is claimed in the share. A server
# without the share beside them says how often that is. When the responder
# answers again, all have their staples.

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

my $leaf = $ca->leaf(ocsp => $shared->url);
my @fleet = map { server($leaf, 'StapleShare ' . $store->spec) } 1 .. 4;
my $alone = server($ca->leaf(ocsp => $own->url));

$_->tell('http 503') for $shared, $own;
start_all(@fleet, $alone);
ok(wait_for(sub { probes($alone) >= 6 }, 120),
   'a server alone probes its responder');
my ($of_fleet, $of_one) = (probes(@fleet), probes($alone));
cmp_ok($of_fleet, '>=', 3, 'so does a fleet of four with a share');
# Four servers on their own would send 24 in the time.
cmp_ok($of_fleet, '<=', 2.5 * $of_one, '... about as often as one server');
diag("probes in the same time: $of_fleet by four servers with a share, "
     . "$of_one by one");

$_->tell('http 200') for $shared, $own;
for my $server (@fleet, $alone) {
    is(wait_for_staple($server, 'good', seconds => 60)->{staple}, 'good',
       'the responder is back: stapled');
    ok($server->stop, '... httpd stops in good order');
    $server->log_ok(qr/STP0302/, qr/STP0203/);
}
$store->end;

done_testing;
