# Licensed under the Apache License, Version 2.0; see LICENSE.

# A certificate that mod_md has renewed gets its first response before the
# restart that puts it into service, by docs/examples/md-fetch-response and
# StapleResponseDirectory: stapled in its first handshake, although its responder
# does not answer then. Without a response, mod_md tries again.

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
my $acme = Staple::Acme->new($ca, ocsp => $responder->url, days => 20);
my $next = work_dir() . '/next';
my $bin = work_dir() . '/bin';
for ($next, $bin) {
    mkdir $_ or die "$_: $!\n";
}
chmod 0755, work_dir(), $bin;
chmod 0777, $next;
symlink build_dir() . '/staplectl/staplectl', "$bin/staplectl"
    or die "$bin: $!\n";

my $example = source_dir() . '/docs/examples/md-fetch-response';
my $httpd = Staple::Httpd->new(
    modules => ['md'], ports => 2, env => { PATH => "$bin:$ENV{PATH}" },
    conf    => stapling(
        'MDStoreDir {dir}/md', 'MDCertificateAuthority ' . $acme->url,
        'MDCertificateAgreement accepted', 'MDContactEmail admin@main.test',
        'MDPortMap http:{port2}', 'MDRenewWindow 30d', 'MDomain www.test',
        "MDMessageCmd $example {dir}/md $next",
        "StapleResponseDirectory $next"),
    vhosts => [{ name => 'www.test', conf => 'SSLEngine on' }]);

# Wait until mod_md has so many certificates; returns the last one's serial.
sub wait_for_issued
{
    my ($count) = @_;
    my $asks = qr/AH10059: The Managed Domain www\.test has been setup/;

    ok(wait_for(sub { (() = $httpd->error_log =~ /$asks/g) >= $count }, 60),
       "mod_md has certificate number $count");
    return ($acme->issued('www.test'))[$count - 1];
}

# The serial in the response that is there.
sub fetched
{
    my ($exit, $out) = run('openssl', 'ocsp', '-noverify', '-resp_text',
                           '-respin', "$next/www.test.ocsp");

    return $out =~ /Serial Number: (\w+)/ ? $1 : '';
}

$httpd->start;
unlike($httpd->error_log, qr/STP015\d/,
       'of the certificate that mod_md lends meanwhile nothing is said');
my $first = wait_for_issued(1);
ok(wait_for(sub { fetched() eq $first }), 'its first response is there');
$httpd->log_ok(qr/AH10085|AH02217.*Managed Domain Fallback|AH02604/);
$acme->set(days => 90);
$httpd->graceful;
is(handshake($httpd)->{staple}, 'good', 'stapled in its first handshake');

# It is near its end, so mod_md renews it at once.
my $second = wait_for_issued(2);
ok(wait_for(sub { fetched() eq $second }),
   'the first response of its successor is there');
is(handshake($httpd)->{serial}, $first, '... which waits for a restart');

$responder->tell('slow 600000');
$responder->tell('reset-counters');
$httpd->graceful;
my $got = handshake($httpd);
is($got->{staple}, 'good',
   'stapled in its first handshake while the responder does not answer');
is($got->{serial}, $second, '... with its own response');
is($responder->count, 0, '... and the responder was not asked');

subtest 'no response yet' => sub {
    my ($exit, $out) = run('sh', $example, $httpd->dir . '/md', $next,
                           'renewing', 'www.test');
    is($exit, 0, 'another event is passed over');
    my $staged = work_dir() . '/store/staging/new.test';
    run('mkdir', '-p', $staged);
    my $leaf = $ca->leaf(name => 'new.test', ocsp => $responder->url);
    write_file("$staged/pubcert.pem", read_file($leaf->{chain}));
    $responder->only('unauthorized');
    local $ENV{PATH} = "$bin:$ENV{PATH}";
    ($exit, $out) = run('sh', $example, work_dir() . '/store', $next,
                        'renewed', 'new.test');
    isnt($exit, 0, 'it fails, so that mod_md runs it again');
    ok(!-e "$next/new.test.ocsp", '... and leaves nothing');
    $responder->good;
    ($exit, $out) = run('sh', $example, work_dir() . '/store', $next,
                        'renewed', 'new.test');
    is($exit, 0, 'then it brings one') or diag $out;
    ok(-s "$next/new.test.ocsp", '... which is there');
};

ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok;

done_testing;
