# Licensed under the Apache License, Version 2.0; see LICENSE.

# StapleMustStaple strict and refuse: while a must-staple certificate has nothing
# to staple, a client that asks for a staple is given the virtual host's other
# certificate, if it can use that one. If it cannot, it gets the first one
# without a staple (strict), or no connection (refuse). Who asks for no staple
# notices nothing.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Status;

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my $must = $ca->leaf(name => 'pair.test', ocsp => $responder->url,
                     must_staple => 1);
my $plain = $ca->leaf(name => 'pair.test', ocsp => $responder->url,
                      key => 'rsa');
my $alone = $ca->leaf(name => 'alone.test', ocsp => $responder->url,
                      must_staple => 1);

# A host with a chain whose CA is must-staple and has no responder, and another.
my $beside = $ca->leaf(name => 'below.test', ocsp => $responder->url,
                       key => 'rsa');
$ca->intermediate(must_staple => 1, file => 'must-intermediate');
my $below = $ca->leaf(name => 'below.test', ocsp => $responder->url);

# Which certificate a client got, and what staple with it.
my %name_of = map { read_file($_->[0]{cert}) => $_->[1] }
    [$must, 'must'], [$plain, 'plain'], [$alone, 'alone'],
    [$beside, 'beside'], [$below, 'below'];

sub got
{
    my ($httpd, %o) = @_;
    my $got = handshake($httpd, name => 'pair.test', %o);

    return 'refused' if !$got->{ok};
    return $name_of{ $got->{cert} } . ' ' . $got->{staple};
}

# A server whose must-staple responses have just ended.
sub bereft
{
    my ($word, @conf) = @_;
    my $httpd = Staple::Httpd->new(
        ports  => 2,
        conf   => stapling("StapleMustStaple $word",
                           'SSLStaplingErrorCacheTimeout 1', @conf,
                           status_conf()),
        vhosts => [{ certs => [$must, $plain] }, { cert => $alone },
                   { certs => [$below, $beside] }]);

    $responder->only('validity -60 4', $must);
    $responder->tell('validity -60 4', $alone);
    $httpd->start;
    ok(wait_for(sub { got($httpd) eq 'must good' }),
       "$word: with a response, the must-staple certificate is offered");
    $responder->tell('http 503', $_) for $must, $alone;
    ok(wait_for(sub { got($httpd) ne 'must good'
                      && got($httpd, name => 'alone.test') ne 'alone good' }),
       '... until that ends');
    return $httpd;
}

my @ec = (key => 'ec');
my @ciphers = (tls => '1.2',
               args => ['-cipher', 'ECDHE-ECDSA-AES128-GCM-SHA256']);

for my $word (qw(strict refuse)) {
    # One group at the server: a client that guesses another one gets a
    # HelloRetryRequest, and its choice is made twice.
    my $httpd = bereft($word, 'SSLOpenSSLConfCmd Groups P-256');
    my $else = $word eq 'strict' ? 'must none' : 'refused';

    for my $tls ('1.2', '1.3') {
        is(got($httpd, tls => $tls), 'plain good',
           "TLS $tls: the other certificate is given, with its staple");
        is(got($httpd, tls => $tls, ask => 0), 'must none',
           '... who asks for no staple gets the first');
        is(got($httpd, tls => $tls, @ec), $else,
           "... a client that can use the first alone: $else");
    }
    is(got($httpd, @ciphers), $else, "... the same by its ciphers: $else");

    # s_client leaves out the ciphers that such a client has no use for; GnuTLS
    # does not.
    my ($status, $said) = gnutls($httpd, name => 'pair.test', ca => $ca,
        args => ['--priority', 'NORMAL:-VERS-ALL:+VERS-TLS1.2:-SIGN-ALL:'
                 . '+SIGN-ECDSA-SHA256']);
    $word eq 'strict'
        ? like($said, qr{EC/ECDSA key}, 'by its signatures, with all ciphers')
        : like($said, qr/alert.*internal error/i, 'by its signatures')
        if defined $status;
    is(got($httpd, tls => '1.3', args => ['-groups', 'X25519:P-256']),
       'plain good', 'a HelloRetryRequest changes nothing');
    like(handshake($httpd, name => 'pair.test', @ec)->{out},
         qr/alert internal error/, 'the alert is internal_error')
        if $word eq 'refuse';
    is(got($httpd, name => 'alone.test'),
       $word eq 'strict' ? 'alone none' : 'refused',
       'a host with no other certificate');
    for my $tls ('1.2', '1.3') {
        is(got($httpd, name => 'below.test', tls => $tls), 'beside good',
           "TLS $tls: a must-staple CA without a staple counts");
    }
    wait_for(sub { $httpd->error_log =~ /STP0252/ });
    is(scalar(() = $httpd->error_log =~ /STP0252: .*given another/g), 1,
       'said once');

    my $numbers = Staple::Status->new($httpd)->json->{numbers};
    cmp_ok($numbers->{avoided}, '>=', 3, 'counted: given another');
    $word eq 'refuse'
        ? cmp_ok($numbers->{refused}, '>=', 4, 'counted: refused')
        : is($numbers->{refused}, 0, 'none was refused');

    $responder->only('validity -60 600', $must);
    ok(wait_for(sub { got($httpd) eq 'must good' }, 60),
       'a new response brings the first certificate back');
    ok($httpd->stop, 'httpd stops in good order');
    $httpd->log_ok(qr/STP0252|STP0203|STP0302/);
}

done_testing;
