# Licensed under the Apache License, Version 2.0; see LICENSE.

# A responder with three addresses in turns, one of which is ill: there is a
# valid staple from the first round on, and never a failed one.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

my $missing = Staple::Names::missing();

plan skip_all => $missing if $missing;

my @ips = map { "127.0.0.$_" } 2 .. 4;
my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca, { bind => \@ips });
my $names = Staple::Names->new('three.test' => "turn @ips");
my @leaves = map { $ca->leaf(name => "www$_.test",
                             ocsp => $responder->url('/', 'three.test')) }
             1 .. 6;
my $httpd = Staple::Httpd->new(
    names  => $names,
    conf   => stapling('SSLStaplingStandardCacheTimeout 1'),
    vhosts => [map { { cert => $_ } } @leaves]);

$responder->only('hang-before', $ips[0]);
$httpd->start;
is(wait_for_staple($httpd, 'good', name => $_->{name}, seconds => 30)
       ->{staple}, 'good', "$_->{name}: stapled") for @leaves;

# Through many rounds, and while another one falls ill.
for my $ill (@ips) {
    $responder->good($_) for @ips;
    $responder->only('http 500', $ill);
    $responder->tell('reset-counters');
    ok(wait_for(sub { $responder->count($leaves[0]) >= 4 }, 30),
       "$ill is ill: it goes on");
}
unlike($httpd->error_log, qr/STP0203/, 'no round has failed');
is(handshake($httpd, name => 'www1.test')->{staple}, 'good', 'still stapled');
ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok;

done_testing;
