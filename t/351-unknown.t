# Licensed under the Apache License, Version 2.0; see LICENSE.

# A responder that does not know the certificate is no news: unknown is never
# stapled, costs neither a good response nor a revocation, and a good one
# ends it.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my %leaf = map { $_ => $ca->leaf(name => "$_.test", ocsp => $responder->url) }
    qw(fresh good revoked);
my $httpd = Staple::Httpd->new(
    conf   => stapling('SSLStaplingStandardCacheTimeout 1',
                       'SSLStaplingErrorCacheTimeout 1'),
    vhosts => [map { { cert => $leaf{$_} } } sort keys %leaf]);

$responder->tell('unknown', $leaf{fresh});
$responder->tell('revoked 3600 1', $leaf{revoked});
$httpd->start;
is(wait_for_staple($httpd, $_, name => "$_.test")->{staple}, $_,
   "$_ at first") for qw(good revoked);

$responder->tell('unknown', $leaf{$_}) for qw(good revoked);
$responder->tell('reset-counters');
my %expected = (fresh => 'none', good => 'good', revoked => 'revoked');
for my $name (sort keys %leaf) {
    ok(wait_for(sub { $responder->count($leaf{$name}) >= 4 }, 30),
       "$name: the answer was unknown");
    my $got = handshake($httpd, name => "$name.test");
    ok($got->{ok}, '... the handshake goes well');
    is($got->{staple}, $expected{$name}, "... staple: $expected{$name}");
}
ok($httpd->wait_for_log(qr/does not know the certificate/),
   'a message says so');

$responder->tell('clear', $leaf{$_}) for keys %leaf;
is(wait_for_staple($httpd, 'good', name => "$_.test")->{staple}, 'good',
   "$_: good in the end") for sort keys %leaf;

ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/\[staple:warn\]/, qr/\[staple:error\].*STP0202.*revoked/);

done_testing;
