# Licensed under the Apache License, Version 2.0; see LICENSE.

# A certificate of mod_md's is revoked: docs/examples/md-renew-revoked has mod_md
# renew it long before it would, once, and its successor is put into service,
# stapled in its first handshake.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Acme;
use Staple::Work qw(build_dir source_dir);

plan skip_all => 'no mod_md here (Debian: apache2-bin, RHEL: mod_md)'
    if !has_httpd_module('md');

$ENV{no_proxy} = '127.0.0.1';    # mod_md asks by way of libcurl

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my $acme = Staple::Acme->new($ca, ocsp => $responder->url, days => 90);
my $windows = work_dir() . '/md-renew';
mkdir $windows or die "$windows: $!\n";
my $bin = work_dir() . '/bin';
mkdir $bin or die "$bin: $!\n";
symlink build_dir() . '/staplectl/staplectl', "$bin/staplectl"
    or die "$bin: $!\n";

# Each domain includes its window, as docs/revoked.md has it.
my @domains = qw(www.test other.test);
my $httpd = Staple::Httpd->new(
    modules => ['md'],
    ports   => 2,
    conf    => stapling(
        'SSLStaplingStandardCacheTimeout 1',
        'MDStoreDir {dir}/md', 'MDCertificateAuthority ' . $acme->url,
        'MDCertificateAgreement accepted', 'MDContactEmail admin@main.test',
        'MDPortMap http:{port2}', 'MDCheckInterval 1s',
        map { ("<MDomainSet $_>", "IncludeOptional $windows/$_.conf",
               '</MDomainSet>') } @domains),
    vhosts => [map { { name => $_, conf => 'SSLEngine on' } } @domains]);
my $ring = $httpd->dir . '/logs/stapling_cache';

# As a timer runs it; whether it has had the server reloaded.
sub run_example
{
    my $reloaded = work_dir() . '/reloaded';
    local $ENV{PATH} = "$bin:$ENV{PATH}";
    local $ENV{MD_STORE} = $httpd->dir . '/md';
    local $ENV{STAPLE_RING} = $ring;
    local $ENV{MD_WINDOWS} = $windows;
    local $ENV{MD_RELOAD} = "touch $reloaded";

    unlink $reloaded;
    my ($exit, $out) = run('sh', source_dir()
                           . '/docs/examples/md-renew-revoked');
    is($exit, 0, 'the example runs') or diag $out;
    return 0 if !-e $reloaded;
    $httpd->graceful;
    return 1;
}

# Whether the file of the ring has it.
sub says_revoked
{
    my ($serial) = @_;
    my ($exit, $out) = run("$bin/staplectl", 'check', '--ring', $ring, $serial);

    return $out =~ /the CA revoked it/;
}

sub wait_for_issued
{
    my ($name, $count) = @_;
    my $asks = qr/AH10059: The Managed Domain \Q$name\E has been setup/;

    ok(wait_for(sub { (() = $httpd->error_log =~ /$asks/g) >= $count }, 60),
       "$name: mod_md has certificate number $count");
    return ($acme->issued($name))[$count - 1];
}

my $of_the_fallback = qr/AH10085|AH02217.*Managed Domain Fallback|AH02604/;

$httpd->start;
my ($first, $other) = map { wait_for_issued($_, 1) } @domains;
$httpd->log_ok($of_the_fallback);
$httpd->graceful;
is(wait_for_staple($httpd, 'good', name => $_)->{staple}, 'good',
   "$_: stapled") for @domains;
ok(wait_for(sub { -s $ring }), 'the ring is in its file');
ok(!run_example(), 'nothing is revoked, and nothing done');

$responder->tell('revoked 60 1', { serial => $first });
is(wait_for_staple($httpd, 'revoked')->{staple}, 'revoked', 'www.test: revoked');
ok(wait_for(sub { says_revoked($first) }, 30), 'the file of the ring says so, too');

ok(run_example(), 'the server is reloaded');
my $second = wait_for_issued('www.test', 2);
isnt($second, $first, '... and mod_md gets another certificate');
is(handshake($httpd)->{serial}, $first, 'which waits for a restart');
ok(run_example(), 'the server is reloaded once more');
my $got = handshake($httpd);
is($got->{staple}, 'good', 'its successor is stapled in its first handshake');
is($got->{serial}, $second, '... with its own response');
ok(!-e "$windows/www.test.conf", 'mod_md has its usual window again');
ok(!run_example(), 'nothing is left to be done');
is(join(' ', $acme->issued('other.test')), $other,
   'the other domain was not renewed');
is(handshake($httpd, name => 'other.test')->{serial}, $other,
   '... and is in service as it was');

# Something else reloads the server when mod_md has the new certificate.
$responder->tell('revoked 60 1', { serial => $other });
ok(wait_for(sub { says_revoked($other) }, 30), 'other.test: revoked');
ok(run_example(), 'the server is reloaded');
my $next = wait_for_issued('other.test', 2);
# With a window that holds, mod_md would go on renewing, and a child that ends
# while it asks the CA has lost its OpenSSL, and may crash.
write_file("$windows/other.test.conf", "# MDRenewWindow\n");
$httpd->graceful;
is(wait_for_staple($httpd, 'good', name => 'other.test')->{serial}, $next,
   'somebody else reloads it, and the new one is in service');
ok(wait_for(sub { !run_example() }, 60), 'the example comes to an end');
ok(!-e "$windows/other.test.conf", 'mod_md has its usual window again');

is(join(' ', $acme->issued('www.test')), "$first $second", 'one renewal');
is(join(' ', $acme->issued('other.test')), "$other $next", '... for each');
ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/STP0202/);

done_testing;
