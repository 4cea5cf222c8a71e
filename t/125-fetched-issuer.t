# Licensed under the Apache License, Version 2.0; see LICENSE.

# Where the chain lacks the issuer, it is fetched once from where the certificate
# says that it is, as DER, PEM or PKCS #7, believed only if it has signed the
# certificate, and kept through restarts; and the certificate is stapled.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Answer;
use Staple::Status;

my $ca = Staple::CA->new;
my $other = Staple::CA->new;
my $responder = Staple::Responder->new($ca);

# Somebody who has certificates of CAs to give, and counts.
my $shop = Staple::Httpd->new(staple => 0, modules => ['log_config'],
    conf => "CustomLog {dir}/logs/access \"%U\"\n");
$shop->start;
my $at = 'http://127.0.0.1:' . $shop->port;
my ($issuer) = $ca->issuer;

sub offer
{
    my ($name, @command) = @_;
    my $file = $shop->dir . "/htdocs/$name";
    my ($exit, $out) = run('openssl', @command, '-out', $file);

    die $out if $exit;
    chmod 0644, $file;
}
offer('ca.der', 'x509', '-in', $issuer, '-outform', 'DER');
offer('ca.pem', 'x509', '-in', $issuer);
offer('ca.p7c', 'crl2pkcs7', '-nocrl', '-certfile', $ca->root, '-certfile',
      $issuer, '-outform', 'DER');
offer('ca.p7b', 'crl2pkcs7', '-nocrl', '-certfile', $issuer);
offer('wrong.der', 'x509', '-in', ($other->issuer)[0], '-outform', 'DER');
write_file($shop->dir . '/htdocs/nonsense', "no certificate\n");

sub asked
{
    my ($name) = @_;

    return scalar(() = read_file($shop->dir . '/logs/access') =~ m{^/\Q$name\E$}mg);
}

# A certificate whose file is without its issuer.
sub alone
{
    my ($leaf) = @_;

    return { %$leaf, conf => "SSLCertificateFile $leaf->{cert}\n"
                             . "SSLCertificateKeyFile $leaf->{key}\n" };
}

# The same, of one that names these places.
sub lonely
{
    my ($name, @places) = @_;

    return alone($ca->leaf(name => $name,
        ext => 'authorityInfoAccess=' . join(',', 'OCSP;URI:' . $responder->url,
            map { "caIssuers;URI:$at/$_" } @places) . "\n"));
}

my %form = (der => 'ca.der', pem => 'ca.pem', p7c => 'ca.p7c', p7b => 'ca.p7b');
my %leaf = map { ($_ => lonely("$_.test", $form{$_})) } sort keys %form;
my $httpd = Staple::Httpd->new(
    ports  => 2, conf => stapling(status_conf()),
    vhosts => [map { { cert => $leaf{$_} } } sort keys %leaf]);
my $noise = qr/AH0(?:2217|2604)/;

my ($exit, $said) = $httpd->configtest('-D', 'DUMP_STAPLING');
is($exit, 0, 'the preflight finds no trouble') or diag $said;
is(() = $said =~ /^  note +clients get an incomplete chain.* fetched from \S+$/mg,
   4, '... but notes what clients get');
$httpd->start;
for my $form (sort keys %leaf) {
    is(wait_for_staple($httpd, 'good', name => "$form.test")->{staple}, 'good',
       "an issuer as $form: stapled");
    is(asked($form{$form}), 1, '... after one question');
    is(scalar(() = read_file($httpd->{error_log}) =~ /STP0154: $form\.test /g),
       1, '... and one line about the chain of clients');
}
like(join("\n", $httpd->staple_lines('notice')),
     qr/STP0154: der\.test \(der\.test:\d+\): the chain that clients get is incomplete: to staple, the certificate of CN=Test 1 intermediate is fetched from \Q$at\E\/ca\.der, .*; append it to \Q$leaf{der}{cert}\E/,
     'which names issuer, place and file');
like(join("\n", $httpd->staple_lines('notice')),
     qr/STP0101: \S+ staples 4 certificates/, 'issuers are not counted');
is(scalar @{ Staple::Status->new($httpd)->json->{certificates} }, 4,
   'nor are they on the page');
my $ctl = Staple::Work::build_dir() . '/staplectl/staplectl';
my $ring = $httpd->dir . '/logs/stapling_cache';
my $out;
ok(wait_for(sub { (undef, $out) = run($ctl, 'list', '--ring', $ring);
                  (() = $out =~ /\b(?:der|pem|p7[bc])\.test/g) >= 4 }),
   'staplectl sees the four') or diag $out;
unlike($out, qr/issuer of/, '... and no issuer');

# Restarts: the issuer is in the ring.
$httpd->graceful;
is(wait_for_staple($httpd, 'good', name => 'pem.test')->{staple}, 'good',
   'stapled after a graceful restart');
$responder->tell('http 503');
ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok($noise);
$httpd->start;
is(wait_for_staple($httpd, 'good', name => "$_.test")->{staple}, 'good',
   "$_.test: after a stop and start, while the responder is down")
    for sort keys %leaf;
is(asked($_), 1, "$_ was not fetched again") for sort values %form;
ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok($noise);
$responder->tell('clear');

# Nor are they counted where the ring is too small, or has grown.
$httpd = Staple::Httpd->new(
    conf   => stapling('StapleCacheGrow off')
                  =~ s/stapling_cache\(128000\)/stapling_cache(8192)/r,
    vhosts => [map { { cert => $leaf{$_} } } sort keys %leaf]);
$httpd->start;
my ($without, $of) = $httpd->error_log
    =~ /STP0106: (\d+) of (\d+) certificates do not fit/;
my ($stapled) = $httpd->error_log =~ /STP0101: \S+ staples (\d+) certificate/;
is($of, 4, 'a ring that is too small: of four certificates');
ok($without > 0 && $without < 4, '... some do not fit');
is($stapled, 4 - $without, '... and the others are stapled');
ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok($noise, qr/STP0106|STP0155/);
$httpd = Staple::Httpd->new(
    conf   => stapling() =~ s/stapling_cache\(128000\)/stapling_cache(8192)/r,
    vhosts => [map { { cert => $leaf{$_} } } sort keys %leaf]);
$httpd->start;
like($httpd->error_log, qr/STP0107: .* for 4 certificates/,
     'a ring that grows: for four certificates');
ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok($noise);

# Many issuers in the ring, and a machine on which a check takes long: that is no
# standstill.
SKIP: {
    my $preload = Staple::Work::build_dir() . '/t/tools/.libs/birth.so';

    skip "no $preload", 1 if !-e $preload || $ENV{STAPLE_PRELOAD};
    my $birth = write_file('birth', "well\n");
    my @many = map { lonely("many$_.test", 'ca.der') } 1 .. 8;

    $httpd = Staple::Httpd->new(
        conf    => stapling('SSLStaplingStandardCacheTimeout 1'),
        vhosts  => [map { { cert => $_ } } @many],
        preload => [$preload], env => { STAPLE_BIRTH => $birth });
    $httpd->start;
    wait_for_staple($httpd, 'good', name => $_->{name}) for @many;
    write_file('birth', "verify-late\n");
    my $before = $httpd->wait_for_refresher;
    $httpd->graceful;
    my $refresher = $httpd->wait_for_refresher($before);
    my $asked = $responder->count;
    ok(wait_for(sub { $responder->count > $asked }, 60),
       'slow checks of many issuers: the refresher comes to its work');
    is($httpd->refresher, $refresher, '... and is still the same');
    ok($httpd->stop, 'httpd stops in good order');
    $httpd->log_ok($noise);
}

# A response in a file can only be verified when the issuer has come.
my $filed = $ca->leaf(name => 'filed.test', must_staple => 1,
                      ext => "authorityInfoAccess=caIssuers;URI:$at/ca.pem\n");
$httpd = Staple::Httpd->new(
    conf   => stapling('StapleMustStaple require',
                       'StapleResponseFile {dir}/filed.der'),
    vhosts => [{ cert => alone($filed) }]);
put_file($httpd->dir . '/filed.der',
         answer($responder, $filed, 'validity -60 86400'));
$httpd->start;
is(wait_for_staple($httpd, 'good', name => 'filed.test')->{staple}, 'good',
   'filed.test: a start waits for the issuer of a certificate with a file');
ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok($noise);

# The issuer is in the file, but mod_ssl reads it in another one.
my ($chain) = $other->issuer;
my $full = $ca->leaf(name => 'full.test',
    ext => 'authorityInfoAccess=OCSP;URI:' . $responder->url
        . ",caIssuers;URI:$at/ca.der\n");
$httpd = Staple::Httpd->new(
    conf   => stapling(),
    vhosts => [{ cert => $full, conf => "SSLCertificateChainFile $chain" }]);
$httpd->start;
is(wait_for_staple($httpd, 'good')->{staple}, 'good',
   'an old SSLCertificateChainFile: stapled all the same');
like(join("\n", $httpd->staple_lines('notice')),
     qr/STP0154: full\.test .*; append it to \Q$chain\E \(SSLCertificateChainFile; because of it, only the first certificate of \Q$full->{chain}\E is used\)/,
     '... and where the issuer belongs');
ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok($noise);

# An issuer that is not to be had, of a certificate without a responder: every
# view says so, until it is there.
my $late = $ca->leaf(name => 'late.test',
                     ext => "authorityInfoAccess=caIssuers;URI:$at/late.pem\n");
$httpd = Staple::Httpd->new(
    ports  => 2,
    conf   => stapling(status_conf(), 'StapleResponseFile {dir}/late.der',
                       'SSLStaplingErrorCacheTimeout 1'),
    vhosts => [{ cert => alone($late) }]);
put_file($httpd->dir . '/late.der',
         answer($responder, $late, 'validity -60 86400'));
$httpd->start;
my $page = Staple::Status->new($httpd);
my $numbers = sub { return $page->cert('late.test')->{numbers} };
ok(wait_for(sub { $numbers->()->{failing} }), 'late.test: its issuer is missing');
like($page->page, qr{<section id="trouble">.*?<article}s,
     '... and the page says what is wrong');
($exit, $said) = run($ctl, 'refresh', '--ring',
                     $httpd->dir . '/logs/stapling_cache', '--wait', '60s',
                     'late.test');
is($exit, 2, '... staplectl refresh says that it is not there') or diag $said;
offer('late.pem', 'x509', '-in', $issuer);
is(wait_for_staple($httpd, 'good', name => 'late.test', seconds => 60)->{staple},
   'good', '... until it is: stapled');
is($numbers->()->{failing}, 0, '... and nothing fails any more');
ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok($noise, qr/STP0155/, qr/STP0207/);

# What is there is not the issuer; another place may have it.
my %bad = (wrong => lonely('wrong.test', 'wrong.der'),
           nonsense => lonely('nonsense.test', 'nonsense'),
           missing => lonely('missing.test', 'nothing.der'),
           second => lonely('second.test', 'wrong.der', 'ca.der'));
$httpd = Staple::Httpd->new(
    conf   => stapling(),
    vhosts => [map { { cert => $bad{$_} } } sort keys %bad]);
$httpd->start;
is(wait_for_staple($httpd, 'good', name => 'second.test')->{staple}, 'good',
   'the second place has it');
ok($httpd->wait_for_log(qr/STP0155: wrong\.test .*not fetched from \Q$at\E\/wrong\.der: what is there did not sign it; append the certificate of CN=Test 1/),
   'another CA of the world is not believed');
ok($httpd->wait_for_log(qr/STP0155: nonsense\.test .*did not sign it/),
   'nor is what is no certificate');
ok($httpd->wait_for_log(qr/STP0155: missing\.test .*HTTP status 404/),
   'nothing there: the reason is told');
is(handshake($httpd, name => "$_.test")->{staple}, 'none',
   "$_.test: is served without a staple") for qw(wrong nonsense missing);
ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok($noise, qr/STP0155/);

# The deny list holds for it, and off is off.
my $before = asked('ca.der');
for my $conf ('StapleDenyResponder loopback', 'StapleFetchIssuer off') {
    $httpd = Staple::Httpd->new(conf   => stapling($conf),
                                vhosts => [{ cert => $leaf{der} }]);
    $httpd->start;
    ok($httpd->wait_for_log($conf =~ /Deny/
           ? qr/STP0155: der\.test .*StapleDenyResponder|STP0155: der\.test .*denied/
           : qr/STP0152: der\.test /), "$conf: is told");
    is(handshake($httpd)->{staple}, 'none', '... nothing is stapled');
    ok($httpd->stop, 'httpd stops in good order');
    $httpd->log_ok($noise, qr/STP0155|STP0152/);
}
is(asked('ca.der'), $before, 'and nobody was asked');
ok($shop->stop, 'the shop closes in good order');

done_testing;
