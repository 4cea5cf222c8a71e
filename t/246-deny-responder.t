# Licensed under the Apache License, Version 2.0; see LICENSE.

# StapleDenyResponder keeps an address out by whichever way a certificate leads
# there: a literal in any guise, a name, or the redirect of a responder that is
# itself allowed. What else the certificate names is asked as ever.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use IO::Socket::IP;

my $ca = Staple::CA->new;
my $allowed = Staple::Responder->new($ca);
plan(skip_all => 'no 127.0.0.2 here')
    if !IO::Socket::IP->new(LocalAddr => '127.0.0.2', Listen => 1);
my $denied = Staple::Responder->new($ca, { args => ['--bind', '127.0.0.2'] });
$denied->{control} = IO::Socket::IP->new(PeerAddr => '127.0.0.2',
                                         PeerPort => $denied->{control_port});
my $port = $denied->port;
my $detour = Staple::Responder->new($ca);
$detour->tell("redirect http://127.0.0.2:$port/ 307");

my %url = (
    literal  => "http://127.0.0.2:$port/",
    mapped   => "http://[::ffff:127.0.0.2]:$port/",
    redirect => $detour->url,
);
my %leaf = map { $_ => $ca->leaf(name => "$_.test", ocsp => $url{$_}) }
    sort keys %url;
my $second = $ca->leaf(name => 'second.test',
                       ocsp => [$url{literal}, $allowed->url]);
my @vhosts = map { { cert => $_ } } $second, map { $leaf{$_} } sort keys %leaf;

my $httpd = Staple::Httpd->new(
    conf   => stapling('StapleDenyResponder link-local 127.0.0.2/31',
                       'StapleWarmup 0'),
    vhosts => \@vhosts);
$httpd->start;
is(wait_for_staple($httpd, 'good', name => 'second.test')->{staple}, 'good',
   'the next URI of a certificate is asked');
for my $kind (sort keys %leaf) {
    ok($httpd->wait_for_log(
           qr/STP0203: $kind\.test .* denied by the configuration/),
       "$kind: the log says that it is denied");
    is(handshake($httpd, name => "$kind.test")->{staple}, 'none',
       '... there is no staple');
}
is($denied->count, 0, 'nobody was asked there');
my %stats = $denied->stats;
is($stats{connections}, 0, '... nor connected to');
ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/STP0302/, qr/STP0203: (?:literal|mapped|redirect)\.test /);

# A name, and the word that stands for several networks.
my $named = $ca->leaf(name => 'name.test',
                      ocsp => 'http://localhost:' . $allowed->port . '/');
my $before = $allowed->count;
$httpd = Staple::Httpd->new(
    conf   => stapling('StapleDenyResponder loopback', 'StapleWarmup 0'),
    vhosts => [{ cert => $named }]);
$httpd->start;
ok($httpd->wait_for_log(
       qr/STP0203: name\.test .* denied by the configuration/),
   'a name that leads there is denied');
is($allowed->count, $before, '... and not asked');
ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/STP0302/, qr/STP0203: name\.test /);

# Without the directive: what can never be a responder, which the log explains,
# unless the administrator names it.
my $meta = $ca->leaf(name => 'meta.test',
                     ocsp => 'http://[64:ff9b::a9fe:a9fe]/latest');
my $cache = $ca->leaf(name => 'cache.test', ocsp => 'http://127.0.0.1:1/');
$httpd = Staple::Httpd->new(
    conf   => stapling('StapleWarmup 0'),
    vhosts => [{ cert => $meta }, { cert => $cache }]);
$httpd->start;
for my $what (['meta', qr/is link-local/],
              ['cache', qr/has a port of another protocol/]) {
    my ($name, $reason) = @$what;

    ok($httpd->wait_for_log(qr/STP0203: $name\.test .* $reason, so a URI .*/
                            . qr/ SSLStaplingForceURL.* StapleDenyResponder none/),
       "$name.test: what was refused, and how it is allowed");
}
ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/STP0302/, qr/STP0203: (?:meta|cache)\.test /);

$httpd = Staple::Httpd->new(
    conf   => stapling('StapleWarmup 0', 'StapleDenyResponder none',
                       'SSLStaplingResponderTimeout 1'),
    vhosts => [{ cert => $cache }]);
$httpd->start;
ok($httpd->wait_for_log(qr/STP0203: cache\.test .* connection refused/),
   'none refuses nothing');
ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/STP0302/, qr/STP0203: cache\.test /);

# What SSLStaplingForceURL names is the administrator's own word.
$httpd = Staple::Httpd->new(
    conf   => stapling('StapleWarmup 0', 'SSLStaplingResponderTimeout 1',
                       'SSLStaplingForceURL http://127.0.0.1:1/'),
    vhosts => [{ cert => $meta }]);
$httpd->start;
ok($httpd->wait_for_log(qr/STP0203: meta\.test .* connection refused/),
   'a port of another protocol is asked where SSLStaplingForceURL names it');
ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/STP0302/, qr/STP0203: meta\.test /);

done_testing;
