# Licensed under the Apache License, Version 2.0; see LICENSE.

# Everything that is true is taken, in whatever dress it comes: delegated
# signers, several answers in one, any HTTP framing, one method only, SHA-256
# CertIDs only, a wrong Content-Type, large responses.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

my $ca = Staple::CA->new(key => 'rsa');
my $responder = Staple::Responder->new($ca);
# Tells the truth; a redirect leads to it.
my $second = Staple::Responder->new($ca);
my $number = 0;
my @variants = (
    'good', 'delegated good', 'by-key', 'by-key | delegated good', 'several',
    'nonext', 'big 9000', 'big 40000', 'sha256-only', 'sha1-only', 'chunked',
    'close', 'http10', 'get-only', 'post-only', 'type text/html', 'type',
    'slow 300', 'drip 1', 'digest sha512', 'etag "x"',
    'header Cache-Control: max-age=3600, public', 'validity -3600 86400',
    'redirect ' . $second->url('/moved/'),
);
my %leaf = map { $_ => $ca->leaf(name => 'variant' . ++$number . '.test',
                                 ocsp => $responder->url) } @variants;

$responder->tell($_, $leaf{$_}) for @variants;
my $httpd = Staple::Httpd->new(
    conf   => stapling('SSLStaplingErrorCacheTimeout 1'),
    vhosts => [map { { cert => $leaf{$_} } } @variants]);
$httpd->start;

for my $variant (@variants) {
    my $got = wait_for_staple($httpd, 'good', name => $leaf{$variant}{name},
                              seconds => 15);
    is($got->{staple}, 'good', "$variant: stapled");
}

ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok;

done_testing;
