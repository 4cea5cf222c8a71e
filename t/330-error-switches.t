# Licensed under the Apache License, Version 2.0; see LICENSE.

# SSLStaplingReturnResponderErrors and SSLStaplingFakeTryLater: off unless set;
# with the first, a responder's error is stapled where nothing valid is held,
# with both also a made tryLater, and neither ever instead of a good response.
# Of an error its status is stapled: not the unsigned bytes that came with it.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my %leaf = map { $_ => $ca->leaf(name => "$_.test", ocsp => $responder->url) }
    qw(default errors fake alone);
my $httpd = Staple::Httpd->new(
    conf   => stapling('SSLStaplingStandardCacheTimeout 1',
                       'SSLStaplingErrorCacheTimeout 1'),
    vhosts => [{ cert => $leaf{default} },
               { cert => $leaf{errors},
                 conf => "SSLStaplingReturnResponderErrors on\n"
                       . 'SSLStaplingFakeTryLater off' },
               { cert => $leaf{fake},
                 conf => "SSLStaplingReturnResponderErrors on\n"
                       . 'SSLStaplingFakeTryLater on' },
               { cert => $leaf{alone},
                 conf => 'SSLStaplingFakeTryLater on' }]);

sub staple
{
    my ($name, $wanted) = @_;

    return wait_for_staple($httpd, $wanted, name => "$name.test")->{staple};
}

$responder->only('internal');
$httpd->start;
is(staple(errors => 'internalerror (0x2)'), 'internalerror (0x2)',
   'ReturnResponderErrors on: the error is stapled');
is(staple(default => 'none'), 'none', 'default: nothing is');

$responder->only('stuffed 50000');
is(staple(errors => 'trylater (0x3)'), 'trylater (0x3)',
   'a tryLater with 50,000 bytes in it');
is(unpack('H*', handshake($httpd, name => 'errors.test')->{der}), '30030a0103',
   '... is stapled as five bytes');

$responder->only('http 500');
is(staple(fake => 'trylater (0x3)'), 'trylater (0x3)',
   'FakeTryLater on: tryLater is made');
is(staple(alone => 'none'), 'none',
   'FakeTryLater alone has no effect, as with mod_ssl');
is(staple(errors => 'none'), 'none', 'FakeTryLater off: it is not');

$responder->good;
is(staple($_ => 'good'), 'good', "$_: good, once there is a good response")
    for sort keys %leaf;

$responder->only('internal | reset-counters');
for my $name (sort keys %leaf) {
    wait_for(sub { $responder->count($leaf{$name}) >= 5 }, 30);
    is(staple($name => 'good'), 'good', "$name: and it stays");
}

ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/\[staple:warn\]/);

done_testing;
