# Licensed under the Apache License, Version 2.0; see LICENSE.

# Clients that refuse: with a must-staple certificate, curl --cert-status
# (OpenSSL), gnutls-cli and tstclnt (NSS) pass when there is a good staple and
# fail when there is none, a revocation, or a responder's error. And whether
# they take a staple whose CertID is SHA-256, which is told but not judged: of
# these GnuTLS did, OpenSSL and tstclnt did not (Firefox does: docs/clients.md).

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

my $ca = Staple::CA->new(key => 'rsa');
my $responder = Staple::Responder->new($ca);
my %leaf = map {
    $_ => $ca->leaf(name => "$_.test", ocsp => $responder->url,
                    must_staple => 1)
} qw(good sha256 revoked error none);
my %conf = (sha256 => 'StapleCertIDHash sha256',
            error => 'SSLStaplingReturnResponderErrors on',
            none => 'SSLUseStapling off');
my $httpd = Staple::Httpd->new(
    conf   => stapling('SSLStaplingErrorCacheTimeout 1'),
    vhosts => [map { { cert => $leaf{$_}, conf => $conf{$_} // '' } }
               sort keys %leaf]);
my $nss = work_dir() . '/nss';

# Whether it passes; nothing where the client is not installed.
sub passes_curl
{
    my ($name, $tls) = @_;
    my ($exit) = curl($httpd, name => $name, ca => $ca,
                      args => ["--tlsv$tls", '--tls-max', $tls]);

    return $exit == 0 ? 1 : 0;
}

sub passes_gnutls
{
    my ($name, $tls) = @_;
    my ($exit) = gnutls($httpd, name => $name, ca => $ca,
                        args => ['--priority',
                                 "NORMAL:-VERS-ALL:+VERS-TLS$tls"]);

    return $exit == 0 ? 1 : 0;
}

# -F: the staple must be there, fresh and good.
sub passes_nss
{
    my ($name, $tls) = @_;
    my ($exit) = run('tstclnt', '-h', '127.0.0.1', '-p', $httpd->port, '-a',
                     $name, '-d', "sql:$nss", '-V', "tls$tls:tls$tls", '-T',
                     '-O', '-F', '-M', 1, '-Q');

    return $exit == 0 ? 1 : 0;
}

sub has_nss
{
    return 0 if !tool('tstclnt') || !tool('certutil');
    mkdir $nss;
    return run('certutil', '-N', '-d', "sql:$nss", '--empty-password') == 0
        && run('certutil', '-A', '-d', "sql:$nss", '-n', 'root', '-t', 'C,,',
               '-i', $ca->root) == 0
        # tstclnt since NSS 3.110 does not take it from the handshake
        && run('certutil', '-A', '-d', "sql:$nss", '-n', 'intermediate', '-t',
               ',,', '-i', $leaf{good}{issuer}) == 0;
}

my @clients = (
    ['curl', tool('curl'), \&passes_curl],
    ['gnutls-cli', tool('gnutls-cli'), \&passes_gnutls],
    ['tstclnt', has_nss(), \&passes_nss],
);

$responder->tell('revoked 3600 1', $leaf{revoked});
$responder->tell('trylater', $leaf{error});
$httpd->start;
my %staple = (good => 'good', sha256 => 'good', revoked => 'revoked',
              error => 'trylater (0x3)', none => 'none');
for my $name (sort keys %staple) {
    is(wait_for_staple($httpd, $staple{$name}, name => "$name.test")->{staple},
       $staple{$name}, "$name: what is stapled");
}
$responder->tell('refuse');    # nobody asks it behind our back
for (@clients) {
    my ($client, $is_there, $passes) = @$_;

    SKIP: {
        skip "no $client", 2 * keys %staple if !$is_there;
        for my $tls ('1.2', '1.3') {
            for my $name (sort keys %staple) {
                my $did = $passes->("$name.test", $tls);
                my $wanted = $name eq 'good'   ? 1
                           : $name eq 'sha256' ? $did : 0;

                is($did, $wanted, "$client, TLS $tls, $name: "
                   . ($wanted ? 'passes' : 'refuses'));
            }
        }
    }
}

ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/STP020[23]|STP030[23]/);

done_testing;
