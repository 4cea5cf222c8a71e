# Licensed under the Apache License, Version 2.0; see LICENSE.

# mod_md gets a certificate from a CA that speaks ACME, and later others in its
# place: mod_staple takes each over with the graceful restart that mod_md asks
# for, and no handshake goes without a staple. Where MDStapling is on, mod_md
# staples; the hosts beside it are ours.

use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP;
use Staple;
use Staple::Acme;
use Staple::Status;
use Staple::Work qw(build_dir);

plan skip_all => 'no mod_md here (Debian: apache2-bin, RHEL: mod_md)'
    if !has_httpd_module('md');

$ENV{no_proxy} = '127.0.0.1';    # mod_md asks by way of libcurl

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
# The first certificate is near its end from the beginning.
my $acme = Staple::Acme->new($ca, ocsp => $responder->url, days => 20);
my $plain = $ca->leaf(name => 'plain.test', ocsp => $responder->url);

sub domain
{
    my ($name) = @_;

    return { name => $name, conf => 'SSLEngine on' };
}

# What mod_md needs to know, and the lines about its domains.
sub managing
{
    my (@lines) = @_;

    # A busy machine may take longer than the default of the warm-up.
    return stapling(status_conf(), 'StapleWarmup 60', 'MDStoreDir {dir}/md',
                    'MDCertificateAuthority ' . $acme->url,
                    'MDCertificateAgreement accepted',
                    'MDContactEmail admin@main.test', 'MDPortMap http:{port2}',
                    'MDRenewWindow 30d', @lines);
}

my $httpd = Staple::Httpd->new(
    ports => 2, modules => ['md'], conf => managing('MDomain www.test'),
    vhosts => [domain('www.test')]);
my $status = Staple::Status->new($httpd);

sub reconfigure
{
    my (@lines) = @_;

    $httpd->{conf} = managing(@lines);
    $httpd->write_conf;
    $httpd->graceful;
}

# Wait until mod_md has another certificate for a name, and asks for a restart
# to use it; returns its serial.
my %renewals;
sub wait_for_renewal
{
    my ($name) = @_;
    my $count = ++$renewals{$name};
    my $asks = qr/AH10059: The Managed Domain \Q$name\E has been setup/;

    ok(wait_for(sub { (() = $httpd->error_log =~ /$asks/g) >= $count }, 60),
       "$name: mod_md has certificate number $count");
    return ($acme->issued($name))[$count - 1];
}

sub is_first_stapled
{
    my ($name, $serial) = @_;
    my $got = handshake($httpd, name => $name);

    is($got->{staple}, 'good', "$name: stapled in its first handshake");
    is($got->{serial}, $serial, '... with its own response');
}

# The names of the certificates that mod_staple has taken.
sub ours
{
    return join ' ', sort map { $_->{name} } @{ $status->json->{certificates} };
}

# The serials in the file of the ring.
sub kept
{
    my ($exit, $out) = run(build_dir() . '/staplectl/staplectl', 'list', '--json',
                           '--ring', $httpd->dir . '/logs/stapling_cache');

    return [map { $_->{serial} } @{ decode_json($out)->{certificates} }];
}

# The serials that somebody asked the responder for, and not mod_staple.
sub others_asked_for
{
    my %asked = map { $_->{serial} => 1 }
        grep { $_->{agent} !~ /mod_staple/ } $responder->log;

    return join ' ', sort keys %asked;
}

# What mod_ssl says of mod_md's own certificate, until there is another.
my $of_the_fallback = qr/AH10085|AH02217.*Managed Domain Fallback|AH02604/;

my $first;
subtest 'before the first certificate' => sub {
    $httpd->start;
    my $got = handshake($httpd);
    ok($got->{ok}, "mod_md's own certificate is served");
    is($got->{staple}, 'none', 'without a staple');
    $first = wait_for_renewal('www.test');
    is(join("\n", $httpd->staple_lines(qw(warn error crit))), '',
       'mod_staple is calm about it');
    $httpd->log_ok($of_the_fallback);
};

subtest 'the first certificate' => sub {
    $acme->set(days => 90);
    $httpd->graceful;
    is_first_stapled('www.test', $first);
    is($status->cert('www.test')->{serial}, $first, 'as the status page says');
    $httpd->log_ok;
};

# mod_md gets another certificate for www.test in the place of the former one,
# and its restart, while visitors come.
sub renew_under_load
{
    my ($former) = @_;
    my $visitors = Staple::Visitors->new($ca, [$httpd->port]);
    my $serial = wait_for_renewal('www.test');

    ok($visitors->wait_for_more(10), 'visitors come');
    $httpd->graceful;
    is_first_stapled('www.test', $serial);
    ok($visitors->wait_for_more(20), 'more visitors come');
    my @odd = $visitors->stop->odd;
    ok(!@odd, 'no visitor went without a staple') or diag(join "\n", @odd);
    my %seen = map { $_->{serial} => 1 } $visitors->visits;
    is_deeply([sort keys %seen], [sort $former, $serial],
              'visitors saw the one and the other');
    # The file is a copy, which comes a moment after.
    ok(wait_for(sub { "@{[map { $_ // 'none' } @{ kept() }]}" eq $serial }, 20),
       'the ring has dropped the former one');
    return $serial;
}

my $second;
subtest 'its renewal, under load' => sub {
    $responder->tell('slow 100');
    $second = renew_under_load($first);
    $httpd->log_ok;
};

subtest 'must-staple from now on' => sub {
    # Longer than the default for an ordinary certificate.
    $responder->tell('slow 1500');
    reconfigure('MDomain www.test', 'MDMustStaple on');
    renew_under_load($second);
    is($status->cert('www.test')->{numbers}{must_staple}, 1,
       'it says must-staple');
    $httpd->log_ok;
};

subtest 'MDStapling for one domain' => sub {
    $responder->good;
    push @{ $httpd->{vhosts} }, domain('theirs.test'), { cert => $plain };
    my @lines = ('MDomain www.test', 'MDMustStaple on', 'MDStapleOthers off',
                 '<MDomainSet theirs.test>', 'MDStapling on', '</MDomainSet>');
    reconfigure(@lines);
    is(handshake($httpd, name => $_)->{staple}, 'good', "$_: goes on")
        for qw(www.test plain.test);
    my $theirs = wait_for_renewal('theirs.test');
    $httpd->log_ok($of_the_fallback);
    $responder->tell('reset-counters');
    $httpd->graceful;
    my $got = wait_for_staple($httpd, 'good', name => 'theirs.test',
                              seconds => 30);
    is($got->{serial}, $theirs, "theirs.test: stapled, with its own response");
    is(others_asked_for(), $theirs, '... that mod_md asked for');
    is(ours(), 'plain.test www.test', 'the others are ours');

    # The administrator changes sides.
    reconfigure(grep { !/MDStapling/ } @lines);
    is_first_stapled('theirs.test', $theirs);
    is(ours(), 'plain.test theirs.test www.test', 'and all is ours');
    $httpd->log_ok;
};

subtest 'MDStapling for all domains' => sub {
    $responder->tell('reset-counters');
    reconfigure('MDomain www.test', 'MDomain theirs.test', 'MDMustStaple on',
                'MDStapling on', 'MDStapleOthers off');
    is(wait_for_staple($httpd, 'good', name => $_, seconds => 30)->{staple},
       'good', "$_: stapled by mod_md") for qw(www.test theirs.test);
    is(handshake($httpd, name => 'plain.test')->{staple}, 'good',
       'plain.test: stapled');
    is(ours(), 'plain.test', '... by us, and no other');
    unlike(others_asked_for(), qr/\b$plain->{serial}\b/,
           'mod_md did not ask for it');
};

ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok;

done_testing;
