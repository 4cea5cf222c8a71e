# Licensed under the Apache License, Version 2.0; see LICENSE.

# Redirects are followed from responder to responder, three times and no
# further; and a responder that asks for patience gets it, whichever of the
# two forms of Retry-After it uses.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use POSIX qw(strftime);

my $ca = Staple::CA->new;
my @chain = map { Staple::Responder->new($ca) } 1 .. 4;
my $circle = Staple::Responder->new($ca);
my $busy = Staple::Responder->new($ca);
my $busy_until = Staple::Responder->new($ca);
my %leaf = (
    followed => $ca->leaf(name => 'followed.test', ocsp => $chain[0]->url),
    circle   => $ca->leaf(name => 'circle.test', ocsp => $circle->url),
    busy     => $ca->leaf(name => 'busy.test', ocsp => $busy->url),
    until    => $ca->leaf(name => 'until.test', ocsp => $busy_until->url),
);

$chain[$_]->tell('redirect ' . $chain[$_ + 1]->url . ' 307') for 0 .. 2;
$circle->tell('redirect ' . $circle->url);
$busy->tell('http 503 300');
$busy_until->tell('http 503 | header Retry-After: '
                  . strftime('%a, %d %b %Y %H:%M:%S GMT', gmtime(time + 300)));

my $httpd = Staple::Httpd->new(
    conf   => stapling(),
    vhosts => [map { { cert => $leaf{$_} } } sort keys %leaf]);
$httpd->start;

is(wait_for_staple($httpd, 'good', name => 'followed.test')->{staple}, 'good',
   'three redirects are followed');
like((grep { $_->{method} eq 'POST' } $chain[3]->log)[0]{target}, qr{^/$},
     '... and the request comes with them');
ok($httpd->wait_for_log(
       qr/STP0203: circle\.test .* redirects more than 3 times/),
   'a circle is not followed for ever');
cmp_ok($circle->count, '<=', 8, '... nor asked more than twice four times');
for my $kind (qw(busy until)) {
    ok($httpd->wait_for_log(qr/STP0203: $kind\.test .*HTTP status 503.*/),
       "$kind: 503 is told");
    my ($pause) = $httpd->error_log
        =~ /STP0203: $kind\.test .*next attempt in (\d+) s/;
    ok($pause >= 240 && $pause <= 361,
       "$kind: the next attempt comes when it asks for it")
        or diag("next attempt in $pause s");
}
is(handshake($httpd, name => 'circle.test')->{staple}, 'none',
   'what was not answered has no staple');

ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/STP0302/, qr/STP0203: (?:circle|busy|until)\.test /);

done_testing;
