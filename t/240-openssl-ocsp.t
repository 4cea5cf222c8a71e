# Licensed under the Apache License, Version 2.0; see LICENSE.

# `openssl ocsp` understands what we send, over GET and over POST, and sees
# nothing in it but one certificate.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new_openssl($ca);
my $by_get = $ca->leaf(name => 'get.test', ocsp => $responder->url);
# The path is so long that only POST is left, RFC 9919 section 6.
my $by_post = $ca->leaf(name => 'post.test',
                        ocsp => $responder->url('/' . 'x' x 200));

$responder->learn($by_get, $by_post);
my $before = length read_file($responder->{log});
my $httpd = Staple::Httpd->new(
    conf => stapling(), vhosts => [map { { cert => $_ } } $by_get, $by_post]);
$httpd->start;

for my $leaf ($by_get, $by_post) {
    my $got = wait_for_staple($httpd, 'good', name => $leaf->{name});

    is($got->{staple}, 'good', "$leaf->{name}: stapled");
    is($got->{serial}, $leaf->{serial}, '... with its own response');
}
my $log = substr read_file($responder->{log}), $before;
# A question of the harness, which is told by its nonce, may be logged late.
my @requests = grep { !/OCSP Nonce/ }
    $log =~ /(OCSP Request Data:.*?)(?=OCSP Re(?:sponse|quest) Data:)/sg;

is(scalar @requests, 2, 'it has read two requests');
is(scalar(grep { 1 == (() = /Certificate ID:/g) } @requests), 2,
   '... of one certificate each');
unlike("@requests", qr/Extensions|Nonce|Signature/i, '... and nothing else');
ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok;

done_testing;
