# Licensed under the Apache License, Version 2.0; see LICENSE.

# StapleChain: with OpenSSL 3.6, in TLS 1.3, a client gets a response for each
# certificate of the chain that names a responder; one fetched for all sites
# below it. In TLS 1.2 it gets what it got without. With an older OpenSSL there
# is one line, and nothing else changes.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Status;
use Staple::Work qw(build_dir run);

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new(
    $ca, { args => ['--issuer', $ca->root_issuer] });
my $middle = $ca->intermediate(ocsp => $responder->url, file => 'with-uri');
my @sites = ((map { $ca->leaf(name => "$_.test", ocsp => $responder->url) }
                  qw(one two three four)), $ca->leaf(name => 'silent.test'));

# The third has a certificate without a responder between the two.
write_file($sites[2]{chain}, join '', map { read_file($_) }
           $sites[2]{cert}, Staple::CA->new->root, $middle->{cert});
# The fourth has its chain in a file of its own.
$sites[3]{conf} = "SSLCertificateFile $sites[3]{cert}\n"
    . "SSLCertificateKeyFile $sites[3]{key}\n"
    . "SSLCertificateChainFile $middle->{cert}\n";

# The root is not sent, so the server has to know it from elsewhere.
my $root = 'SSLCACertificateFile ' . $ca->root;

sub server
{
    return Staple::Httpd->new(ports  => 2,
                              conf   => stapling(status_conf(), $root, @_),
                              vhosts => [map { { cert => $_ } } @sites]);
}

# The certificates of a handshake, each as "response" or "none".
sub stapled
{
    my ($httpd, $name, $tls) = @_;
    my $got = handshake($httpd, name => $name, tls => $tls // '1.3');

    return join ' ', map { $_ ? 'response' : 'none' } @{ $got->{chain} };
}

my $httpd = server('StapleChain on');
$httpd->start;
is(wait_for_staple($httpd, 'good', name => 'one.test')->{staple}, 'good',
   'the site is stapled');

my ($version) = $httpd->error_log =~ m{OpenSSL/([\d.]+)};
my ($major, $minor) = split /\./, $version;

if ($major < 3 || $major == 3 && $minor < 6) {
    my @lines = $httpd->error_log =~ /STP0250: .*OpenSSL 3\.6 can/g;

    is(scalar @lines, 1, "OpenSSL $version: one line says that it is too old");
    is($responder->count($middle), 0, '... nobody is asked for the chain');
    is(stapled($httpd, 'one.test'), 'response none', '... or sends for it');
    ok($httpd->stop, 'httpd stops in good order');
    $httpd->log_ok(qr/STP0250/);
    done_testing;
    exit;
}

ok(wait_for(sub { stapled($httpd, 'one.test') eq 'response response' }),
   'TLS 1.3: a response for each certificate');
is(stapled($httpd, 'two.test'), 'response response', '... at the other site');
is($responder->count($middle), 1, '... asked for once, for both');
is(stapled($httpd, 'three.test'), 'response none response',
   '... and where one between them has none');
is(stapled($httpd, 'four.test'), 'response response',
   '... and with SSLCertificateChainFile');
is(stapled($httpd, 'silent.test'), 'none response',
   'a site whose own certificate has no responder');
is(handshake($httpd, name => 'one.test', tls => '1.2')->{staple}, 'good',
   'TLS 1.2: the site\'s own');
is(handshake($httpd, name => 'silent.test', tls => '1.2')->{staple}, 'none',
   '... if it has one');

my $shown = handshake($httpd, name => 'one.test', tls => '1.3')->{out};
is(scalar(() = $shown =~ /Cert Status: good/g), 2, 's_client shows both')
    if $shown =~ /^OCSP responses: number/m;
my ($exit, $said) = curl($httpd, name => 'one.test', ca => $ca);
is($exit, 0, 'curl --cert-status takes it') or diag($said);

SKIP: {
    ($exit, $said) = gnutls($httpd, name => 'one.test', ca => $ca,
                            args => ['-d', '4']);
    skip 'gnutls-cli is not installed', 2 if !defined $exit;
    is($exit, 0, 'gnutls-cli takes it') or diag($said);
    is(scalar(() = $said =~ /Found OCSP response on cert [01]/g), 2,
       '... and finds both');
}

# It is a certificate like others, with the sites below it.
my ($shown_as) = grep { $_->{serial} eq $middle->{serial} }
    @{ Staple::Status->new($httpd)->json->{certificates} };
is($shown_as->{state}, 'stapled', 'the page lists it');
ok($shown_as->{is_ca}, '... as a CA\'s');
my $page = Staple::Status->new($httpd)->page;
is(scalar(() = $page =~ /<tr>.*>CA<.*<\/tr>/g), 1, '... which is marked');
ok(!grep({ $_->{is_ca} && $_->{serial} ne $middle->{serial} }
         @{ Staple::Status->new($httpd)->json->{certificates} }),
   '... and no site\'s is');
is_deeply([sort map { s/:\d+//r } @{ $shown_as->{hosts} }],
          [map { "$_.test" } qw(four one silent three two)], '... with its sites');
($exit, $said) = run(build_dir() . '/staplectl/staplectl', 'list', '--ring',
                     $httpd->dir . '/logs/stapling_cache');
like($said, qr/intermediate/, 'staplectl lists it by its own name')
    or diag($said);
($exit, $said) = run(build_dir() . '/staplectl/staplectl', 'show', '--ring',
                     $httpd->dir . '/logs/stapling_cache', $shown_as->{id});
like($said, qr/of a CA .*StapleChain/, '... and says why it is there')
    or diag($said);

$httpd->graceful;
is(stapled($httpd, 'one.test'), 'response response', 'a restart keeps it');
ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok;

$responder->tell('revoked', $middle);
my $told = server('StapleChain on');
$told->start;
ok(wait_for(sub {
    handshake($told, name => 'one.test', tls => '1.3')->{out}
        =~ /Cert Status: good.*Cert Status: revoked/s;
}), 'a CA that was revoked is told') if $shown =~ /^OCSP responses: number/m;
ok($told->stop, 'httpd stops in good order');
$told->log_ok(qr/STP02\d\d.*intermediate/);

# The root is known to nobody here, and fetched from where the certificate says.
my $shop = Staple::Httpd->new(staple => 0);
$shop->start;
my ($status, $why) = run('openssl', 'x509', '-in', $ca->root, '-outform', 'DER',
                         '-out', $shop->dir . '/htdocs/root.der');
is($status, 0, 'the root is on offer') or diag($why);
chmod 0644, $shop->dir . '/htdocs/root.der';
$responder->good;
$ca->intermediate(ocsp => $responder->url, file => 'with-issuer',
                  issuer_at => 'http://127.0.0.1:' . $shop->port
                               . '/root.der');
my $fetching = Staple::Httpd->new(
    conf   => stapling('StapleChain on'),
    vhosts => [{ cert => $ca->leaf(name => 'one.test',
                                   ocsp => $responder->url) }]);
$fetching->start;
ok(wait_for(sub { stapled($fetching, 'one.test') eq 'response response' }),
   'an issuer that is not known is fetched');
ok($fetching->stop, 'httpd stops in good order');
$fetching->log_ok;
ok($shop->stop, 'the shop, too');

# A customer's chain may be as long as he likes: the first eight certificates of
# it are asked about, at eight URIs each.
my @crowd = map { my $n = $_; $ca->leaf(name => "crowd$n.test", ocsp => [
                      map { $responder->url("/$n/$_/") } 1 .. 20]) } 1 .. 40;
my $customer = $ca->leaf(name => 'customer.test', ocsp => $responder->url);
write_file($customer->{chain}, join '', map { read_file($_->{cert}) }
           $customer, $middle, @crowd);
$responder->tell('reset-counters');
$responder->tell('http 404', $_) for @crowd;
my $long = Staple::Httpd->new(
    conf   => stapling('StapleChain on', $root,
                       'SSLStaplingErrorCacheTimeout 1'),
    vhosts => [{ cert => $customer }]);
$long->start;
is(wait_for_staple($long, 'good', name => 'customer.test')->{staple}, 'good',
   'a chain of 41 certificates: the site is stapled');
sub asked_at
{
    my %asked;

    $_->{target} =~ m{^/(\d+)/(\d+)/} && $asked{$1}{$2}++
        for $responder->log;
    return \%asked;
}
ok(wait_for(sub {
    my $asked = asked_at();
    keys %$asked >= 7 && !grep { keys %$_ < 8 } values %$asked;
}, 60), '... certificates of it are asked about, at one URI after the other');
my $asked = asked_at();
is(join(' ', sort { $a <=> $b } keys %$asked), '1 2 3 4 5 6 7',
   '... of which seven behind the CA');
is(scalar(grep { keys %$_ > 8 } values %$asked), 0, '... and eight of each');
ok($long->stop, 'httpd stops in good order');
$long->log_ok(qr/STP020|STP030|AH02604/);
$responder->good;

$responder->tell('reset-counters');
my $off = server();
$off->start;
is(wait_for_staple($off, 'good', name => 'one.test')->{staple}, 'good',
   'StapleChain is off unless it is said');
is(stapled($off, 'one.test'), 'response none', '... no more than that is sent');
is($responder->count($middle), 0, '... or asked for');
ok($off->stop, 'httpd stops in good order');
$off->log_ok;

done_testing;
