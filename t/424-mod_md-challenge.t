# Licensed under the Apache License, Version 2.0; see LICENSE.

# A must-staple certificate of mod_md's has nothing to staple any more, and
# StapleMustStaple keeps it from clients that ask for a staple. mod_md renews it,
# and its CA puts the challenge tls-alpn-01 (RFC 8737). The CA's client gets the
# certificate of the challenge, although that has no responder, and although the
# client asks for a staple as well; so the renewal comes to its end.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Acme;

plan skip_all => 'no mod_md here (Debian: apache2-bin, RHEL: mod_md)'
    if !has_httpd_module('md');

$ENV{no_proxy} = '127.0.0.1';    # mod_md asks by way of libcurl

# What a client that speaks acme-tls/1 gets: which protocol was agreed on, and
# whether the certificate is that of a challenge.
sub challenge
{
    my ($httpd, %o) = @_;
    my $got = handshake($httpd, args => ['-alpn', 'acme-tls/1'], %o);
    my $text = (run('openssl', 'x509', '-noout', '-text', '-in',
                    write_file('got.pem', $got->{cert} // '')))[1];
    my ($protocol) = $got->{out} =~ /^ALPN protocol: (\S+)/m;

    return join ' ', $protocol // 'none',
        $text =~ /^ +1\.3\.6\.1\.5\.5\.7\.1\.31: critical/m ? 'challenge'
                                                            : 'another';
}

for my $word (qw(strict refuse)) {
    my $ca = Staple::CA->new;
    my $responder = Staple::Responder->new($ca);
    my $acme = Staple::Acme->new($ca, ocsp => $responder->url, days => 20,
                                 must_staple => 1);
    my $httpd = Staple::Httpd->new(
        ports => 2, modules => ['md'],
        conf => stapling("StapleMustStaple $word", 'StapleWarmup 0',
                         'SSLStaplingErrorCacheTimeout 1', 'MDStoreDir {dir}/md',
                         'MDCertificateAuthority ' . $acme->url,
                         'MDCertificateAgreement accepted',
                         'MDContactEmail admin@main.test',
                         'MDPortMap http:{port2} https:{port1}',
                         'Protocols http/1.1 acme-tls/1',
                         'MDCAChallenges tls-alpn-01', 'MDMustStaple on',
                         'MDRenewWindow 30d', 'MDomain www.test'),
        vhosts => [{ name => 'www.test', conf => 'SSLEngine on' }]);

    # The first certificate, whose only response ends at once.
    $responder->tell('validity -60 4');
    $httpd->start;
    ok($httpd->wait_for_log(qr/AH10059/, 60), "$word: mod_md has a certificate");
    $acme->set(doubts => 1);
    $httpd->graceful;
    ok(wait_for(sub { handshake($httpd)->{staple} eq 'good' }),
       '... which is stapled');
    $responder->tell('http 503');
    my $kept_from = $word eq 'strict'
        ? sub { my $got = handshake($httpd);
                $got->{ok} && $got->{staple} eq 'none' }
        : sub { !handshake($httpd)->{ok} };
    ok(wait_for($kept_from), '... and then has nothing to staple');

    ok(wait_for(sub { challenge($httpd, ask => 0) eq 'acme-tls/1 challenge' },
                60), 'mod_md answers a challenge');
    for my $tls (qw(1.2 1.3)) {
        is(challenge($httpd, tls => $tls), 'acme-tls/1 challenge',
           "... in TLS $tls, to a client that asks for a staple");
    }
    ok($kept_from->(), 'other clients get what they got');

    # The CA is content.
    $acme->set(doubts => 0, days => 90);
    $responder->good;
    ok(wait_for(sub { (() = $httpd->error_log =~ /AH10059/g) > 1 }, 60),
       'the certificate is renewed');
    ok($httpd->stop, 'httpd stops in good order');
    $httpd->log_ok(qr/AH10085|AH02217|AH02604|AH02261/,
                   qr/\[staple:(?:warn|error|crit)\]/);
}

done_testing;
