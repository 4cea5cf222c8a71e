# Licensed under the Apache License, Version 2.0; see LICENSE.

# What a certificate that a customer uploads can make the server send: of a
# thousand URIs eight requests, and of a serial number that is text for another
# protocol, 20 bytes or nothing. Its neighbour is stapled meanwhile.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my $text = "\r\nSLAVEOF NO ONE\r\n";    # to Redis, say
my $hex = uc unpack 'H*', $text;
my %leaf = (
    good  => $ca->leaf(name => 'good.test', ocsp => $responder->url),
    many  => $ca->leaf(name => 'many.test',
                       ocsp => [map { $responder->url("/$_/") } 1 .. 1000]),
    short => $ca->leaf(name => 'short.test', ocsp => $responder->url,
                       serial => "7F$hex"),
    long  => $ca->leaf(name => 'long.test', ocsp => $responder->url,
                       serial => '7F' . $hex x 2),
);
my $httpd = Staple::Httpd->new(
    conf   => stapling('StapleWarmup 0', 'SSLStaplingErrorCacheTimeout 1'),
    log_level => 'warn staple:info',
    vhosts => [map { { cert => $leaf{$_} } } sort keys %leaf]);

$responder->tell('http 500', $leaf{many});
$httpd->start;
is(wait_for_staple($httpd, 'good', name => 'good.test')->{staple}, 'good',
   'a neighbour is stapled');

# 992 URIs are left out, and told of; the other eight are asked.
ok($httpd->wait_for_log(qr/STP0161: many\.test .*992/), 'a thousand URIs');
ok(wait_for(sub { $responder->count($leaf{many}) >= 20 }),
   '... attempts go on');
my %asked = map { $_->{target} =~ m{^/(\d+)/} ? ($1 => 1) : () }
    $responder->log;
is(join(' ', sort { $a <=> $b } keys %asked), '1 2 3 4 5 6 7 8',
   '... of the first eight');

# The serial number is what it is, in as many bytes as RFC 5280 allows.
is(wait_for_staple($httpd, 'good', name => 'short.test')->{staple}, 'good',
   'text as a serial number of 17 bytes');
ok($httpd->wait_for_log(qr/STP0160: long\.test .*serial number/),
   'one of more than 20 bytes: OCSP does not apply');
is(handshake($httpd, name => 'long.test')->{staple}, 'none', '... no staple');
is($responder->count($leaf{long}), 0, '... and no request');

ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/STP016[01]/, qr/STP0302/, qr/STP020[0-9]: many\.test/);
done_testing;
