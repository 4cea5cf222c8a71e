# Licensed under the Apache License, Version 2.0; see LICENSE.

# Every certificate that is configured is seen: one without its issuer, which
# mod_ssl hands over to nobody (AH02217, AH02604), and one that signed itself are
# told of once at the start, with what to do, and stand on the status page.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Status;

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);

# The certificate alone in its file.
sub alone
{
    my ($leaf) = @_;

    return { %$leaf, conf => "SSLCertificateFile $leaf->{cert}\n"
                         . "SSLCertificateKeyFile $leaf->{key}\n" };
}

my $lonely = alone($ca->leaf(name => 'lonely.test', ocsp => $responder->url));
my $must = alone($ca->leaf(name => 'must.test', ocsp => $responder->url,
                           must_staple => 1));
my $self = $ca->leaf(name => 'self.test', self_signed => 1);
my $good = $ca->leaf(name => 'good.test', ocsp => $responder->url);

# ----- nothing that can be stapled: Debian's default -----

my $httpd = Staple::Httpd->new(
    ports  => 2, conf => stapling("StapleFetchIssuer off", status_conf()),
    vhosts => [{ cert => $self }, { cert => $lonely }]);
$httpd->start;
like(join("\n", $httpd->staple_lines('warn')),
     qr/STP0152: lonely\.test \(lonely\.test:\d+\) is not stapled: its issuer's certificate is missing, and clients need it, too; append the certificate of CN=Test 1 intermediate to \Q$lonely->{cert}\E/,
     'a missing issuer: which one, and where it belongs');
like(join("\n", $httpd->staple_lines('notice')),
     qr/STP0153: self\.test \(self\.test:\d+\) is not stapled: it is self-signed; SSLUseStapling off/,
     'one that signed itself: what to do');
is(scalar(() = read_file($httpd->{error_log}) =~ /STP015[23]/g), 2,
   'each is told of once');
my $text = Staple::Status->new($httpd)->page;
like($text, qr/lonely\.test/, 'the page lists it');
like($text, qr/its issuer(?:'|&#39;)s certificate is missing/,
     '... with the reason');
unlike($text, qr/Ring size|do not survive a stop/,
       'and says nothing of a ring that is not there');
like($text, qr/There is no ring, because no certificate can be stapled/,
     'but why there is none');
ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/AH0(?:2217|2604)|STP0152/);

# ----- beside others -----

$httpd = Staple::Httpd->new(
    conf   => stapling(),
    vhosts => [map { { cert => $_ } } $good, $lonely, $must]);
$httpd->start;
is(wait_for_staple($httpd, 'good', name => 'good.test')->{staple}, 'good',
   'others are stapled as ever');
is(handshake($httpd, name => 'lonely.test')->{staple}, 'none',
   'the lonely one is served without a staple');
like(read_file($httpd->{error_log}), qr/STP0117: must\.test .*must-staple/,
     'of one that is must-staple it is told that clients refuse it');
ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/AH0(?:2217|2604)|STP0152|STP0117/);

# ----- where mod_ssl looks for the issuer -----

my $hashed = $httpd->dir . '/ca';
mkdir $hashed;
my (undef, $hash) = run('openssl', 'x509', '-noout', '-hash', '-in',
                        $lonely->{issuer});
chomp $hash;
symlink $lonely->{issuer}, "$hashed/$hash.0";
for my $place ("SSLCertificateChainFile $lonely->{issuer}",
               "SSLCACertificateFile $lonely->{issuer}",
               "SSLCACertificatePath $hashed") {
    $httpd = Staple::Httpd->new(
        conf => stapling(), vhosts => [{ cert => $lonely, conf => $place }]);
    my ($exit, $said) = $httpd->configtest('-D', 'DUMP_STAPLING');
    is($exit, 0, "$place: the preflight finds it") or diag $said;
    $httpd->start;
    is(wait_for_staple($httpd, 'good')->{staple}, 'good', '... and it staples');
    ok($httpd->stop, 'httpd stops in good order');
    $httpd->log_ok;
}

# ----- where it does not look: behind a certificate, with another chain file -----

my ($exit, $said);
my $other = Staple::CA->new;
my ($wrong) = $other->issuer;
my $only = qr/\(SSLCertificateChainFile; because of it, only the first certificate of \Q$good->{chain}\E is used\)/;
my %with_chain = (
    'of its own'    => [undef, "SSLCertificateChainFile $wrong"],
    'of the server' => ["SSLCertificateChainFile $wrong", '']);
for my $whose (sort keys %with_chain) {
    my ($global, $conf) = @{ $with_chain{$whose} };

    $httpd = Staple::Httpd->new(
        conf => stapling($global // ()),
        vhosts => [{ cert => $good, conf => $conf }]);
    ($exit, $said) = $httpd->configtest('-D', 'DUMP_STAPLING');
    is($exit, 1, "another chain file $whose: the preflight finds it")
        or diag $said;
    $httpd->start;
    like(read_file($httpd->{error_log}),
         qr/STP0152: good\.test .* append the certificate of CN=Test 1 intermediate to \Q$wrong\E $only/,
         '... and the start: where the issuer belongs');
    is(handshake($httpd)->{staple}, 'none', '... nothing is stapled');
    ok($httpd->stop, 'httpd stops in good order');
    $httpd->log_ok(qr/AH0(?:2217|2604)|STP0152/);
}

# ----- a file that mod_md adds: mod_ssl forgets SSLCertificateChainFile -----

SKIP: {
    skip 'no mod_md', 3 if !has_httpd_module('md');
    $httpd = Staple::Httpd->new(
        modules => ['watchdog', 'md'],
        conf    => stapling("SSLCertificateChainFile $wrong",
                            'MDContactEmail nobody@lonely.test',
                            'MDRenewMode manual', '<MDomainSet lonely.test>',
                            "MDCertificateFile $lonely->{cert}",
                            "MDCertificateKeyFile $lonely->{key}",
                            '</MDomainSet>'),
        vhosts  => [{ name => 'lonely.test', conf => 'SSLEngine on' }]);
    $httpd->start;
    like(read_file($httpd->{error_log}),
         qr/STP0152: lonely\.test .* to \Q$lonely->{cert}\E$/m,
         'a certificate of mod_md: the issuer belongs in its own file');
    ok($httpd->stop, 'httpd stops in good order');
    $httpd->log_ok(qr/AH0(?:2217|2604)|STP0152|\[md:/);
}

# ----- where another host has it -----

my $both = $ca->leaf(name => 'both.test', alt => ['short.test'],
                     ocsp => $responder->url);
my $short = { %{ alone($both) }, name => 'short.test' };
$httpd = Staple::Httpd->new(
    conf => stapling(), vhosts => [map { { cert => $_ } } $both, $short]);
($exit, $said) = $httpd->configtest('-D', 'DUMP_STAPLING');
is($exit, 0, 'another host has the issuer: the preflight finds no trouble');
like($said, qr/^short\.test:(?:.*\n)*?  note +clients get an incomplete chain: append the issuer's certificate to/m,
     '... but notes what clients of the other get');
is(() = $said =~ /^  note /mg, 1, '... and of no other');
$httpd->start;
is(wait_for_staple($httpd, 'good', name => $_->{name})->{staple}, 'good',
   "$_->{name}: stapled") for $both, $short;
like(join("\n", $httpd->staple_lines('notice')),
     qr/STP0154: both\.test \(short\.test:\d+\): the chain that clients get is incomplete: the certificate of CN=Test 1 intermediate is missing; append it to \Q$short->{cert}\E/,
     'one chain is incomplete; nothing is fetched');
ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/AH0(?:2217|2604)/);

# ----- on a token -----

$httpd = Staple::Httpd->new(
    conf   => stapling(),
    vhosts => [{ cert => $good }, {
        name => 'token.test', conf => "SSLEngine on\n"
            . "SSLCertificateFile pkcs11:token=x;object=y\n"
            . "SSLCertificateKeyFile pkcs11:token=x;object=y" }]);
($exit, $said) = $httpd->configtest('-D', 'DUMP_STAPLING');
like($said, qr/file +pkcs11:token=x;object=y\n +note +it is on a token/,
     'a certificate on a token: a note');
unlike($said, qr/no PEM certificate|!!/, '... and no trouble');

# ----- an issuer that says that it is encrypted -----

my $encrypted = write_file('encrypted.pem', read_file($lonely->{issuer})
    =~ s/(?<=CERTIFICATE-----\n)(?=.)/Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,@{[ '00' x 16 ]}\n\n/r);
$httpd = Staple::Httpd->new(
    conf   => stapling(),
    vhosts => [{ cert => $lonely, conf => "SSLCertificateChainFile $encrypted" }]);
($exit, $said) = $httpd->configtest('-D', 'DUMP_STAPLING');
like($said, qr/issuer's certificate is missing/, 'an issuer that cannot be read');
unlike($said, qr/pass ?phrase/i, '... and nobody is asked for a passphrase');

done_testing;
