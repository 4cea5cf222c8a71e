# Licensed under the Apache License, Version 2.0; see LICENSE.

# A responder that hangs up on some certificates, which come first in the
# configuration and are asked about again and again, is soon known to answer for
# the others: what it stumbles over is no measure for them.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my @bad = map { $ca->leaf(name => "bad$_.test", ocsp => $responder->url) }
          1 .. 6;
my $good = $ca->leaf(name => 'good.test', ocsp => $responder->url);

my $httpd = Staple::Httpd->new(
    conf   => stapling('SSLStaplingStandardCacheTimeout 1',
                       'SSLStaplingErrorCacheTimeout 1'),
    vhosts => [map { { cert => $_ } } @bad, $good]);
$responder->tell('drop', $_) for @bad;
$httpd->start;

# As long as nothing is known of any of them, each may be the one to try.
is(wait_for_staple($httpd, 'good', name => 'good.test', seconds => 60)
       ->{staple}, 'good', 'the other one is stapled');
$responder->tell('reset-counters');
ok(wait_for(sub { $responder->count($good) >= 5 }, 20),
   'and asked about again and again');
ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/STP0302/, qr/STP0203/);

done_testing;
