# Licensed under the Apache License, Version 2.0; see LICENSE.

# The two directives that people copy from the guides are enough: a real
# `openssl ocsp` answers, and real clients see good staples, for RSA and ECDSA
# certificates, alone and on one virtual host, over TLS 1.2 and 1.3. The log of
# such a healthy server holds one NOTICE of ours and nothing above.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new_openssl($ca);
my %leaf = map {
    my ($name, $key) = split /-/;
    ($_ => $ca->leaf(name => "$name.test", key => $key,
                     ocsp => $responder->url));
} qw(one-ec two-rsa both-ec both-rsa);
my $must = $ca->leaf(name => 'must.test', ocsp => $responder->url,
                     must_staple => 1);

$responder->learn(values %leaf, $must);

my $httpd = Staple::Httpd->new(
    conf   => stapling(),
    vhosts => [{ cert => $leaf{'one-ec'} }, { cert => $leaf{'two-rsa'} },
               { certs => [@leaf{qw(both-ec both-rsa)}] },
               { cert => $must }]);
is(($httpd->configtest)[0], 0, 'httpd -t');
$httpd->start;

for my $which (sort keys %leaf) {
    my (undef, $key) = split /-/, $which;
    my $leaf = $leaf{$which};

    for my $tls (qw(1.2 1.3)) {
        my %how = (name => $leaf->{name}, tls => $tls, key => $key,
                   ca => $ca);
        my $got = wait_for_staple($httpd, 'good', %how);

        is($got->{staple}, 'good', "$which, TLS $tls: the staple");
        is($got->{serial}, $leaf->{serial}, '... is about this certificate');
        is($got->{protocol}, "TLSv$tls", '... in this protocol');
        is($got->{verify}, 0, '... with a chain that verifies');
    }
    my ($exit, $said) = curl($httpd, name => $leaf->{name}, ca => $ca);
    is($exit, 0, "$which: curl --cert-status is content") or diag $said;
}

wait_for_staple($httpd, 'good', name => 'must.test');
SKIP: {
    my ($exit, $said) = gnutls($httpd, name => 'must.test', ca => $ca);
    skip 'no gnutls-cli' if !defined $exit;
    is($exit, 0, 'gnutls-cli is content with a must-staple certificate')
        or diag $said;
}

ok(-s $httpd->dir . '/logs/stapling_cache', 'the ring is in the file named');
is(scalar $httpd->staple_lines('notice'), 1, 'one NOTICE at start');
ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok;

done_testing;
