# Licensed under the Apache License, Version 2.0; see LICENSE.

# A responder that is not there: the handshake goes on without a staple, one
# warning says so, and the staple comes when the responder does; when it goes
# away again, the staple stays.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my $leaf = $ca->leaf(ocsp => $responder->url);
my $httpd = Staple::Httpd->new(
    conf   => stapling('SSLStaplingErrorCacheTimeout 1',
                       'SSLStaplingStandardCacheTimeout 1'),
    vhosts => [{ cert => $leaf }]);

$responder->tell('refuse');
$httpd->start;
my $got = handshake($httpd);
ok($got->{ok}, 'down: the handshake goes well');
is($got->{staple}, 'none', 'down: without a staple');
ok($httpd->wait_for_log(qr/\[staple:warn\].*127\.0\.0\.1/),
   'a warning names the responder');

$responder->tell('listen');
is(wait_for_staple($httpd, 'good')->{staple}, 'good', 'up: stapled');
$got = handshake($httpd);

$responder->tell('refuse');
my $warnings = () = $httpd->staple_lines('warn');
ok(wait_for(sub { $warnings < (() = $httpd->staple_lines('warn')) }),
   'down again: a second warning');
is(handshake($httpd)->{staple}, 'good', 'down again: still stapled');
is(scalar($httpd->staple_lines('warn')), 2, 'and no more warnings than these');

ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/\[staple:warn\]/);

done_testing;
