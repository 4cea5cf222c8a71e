# Licensed under the Apache License, Version 2.0; see LICENSE.

# A revocation is served, because clients must learn it, and logged as an error
# once; a good response does not hide it, and a failure afterwards neither.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my $leaf = $ca->leaf(ocsp => $responder->url);
my $httpd = Staple::Httpd->new(
    conf   => stapling('SSLStaplingStandardCacheTimeout 1',
                       'SSLStaplingErrorCacheTimeout 1'),
    vhosts => [{ cert => $leaf }]);

$httpd->start;
is(wait_for_staple($httpd, 'good')->{staple}, 'good', 'good at first');
$httpd->log_ok;

$responder->only('revoked 3600 1');
is(wait_for_staple($httpd, 'revoked')->{staple}, 'revoked', 'then revoked');
my $before = $responder->count;
wait_for(sub { $responder->count >= $before + 3 });
is(scalar($httpd->staple_lines('error')), 1, 'one error line, and no more');
isnt((curl($httpd, ca => $ca))[0], 0, 'curl --cert-status refuses it');

$responder->only('http 500');
$before = $responder->count;
wait_for(sub { $responder->count >= $before + 5 });
is(handshake($httpd)->{staple}, 'revoked', 'a failure leaves it in service');

$responder->good;
is(wait_for_staple($httpd, 'good')->{staple}, 'good', 'good again (a hold)');
ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/\[staple:(?:warn|error)\]/);

done_testing;
