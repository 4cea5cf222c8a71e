# Licensed under the Apache License, Version 2.0; see LICENSE.

# A bad value that mod_ssl refuses too, or of a directive of our own, stops
# `httpd -t`, with a message that names the directive, the value and what is
# accepted; another one of mod_ssl's directives is replaced, with a warning;
# values that httpd users may write are taken.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

my $ca = Staple::CA->new;
my $leaf = $ca->leaf(ocsp => 'http://127.0.0.1:1/');
my $httpd = Staple::Httpd->new(vhosts => [{ cert => $leaf }]);

# What `httpd -t` says to these lines in the main server.
sub check
{
    $httpd->{conf} = join "\n", @_;
    $httpd->{vhosts}[0]{conf} = '';
    $httpd->write_conf;
    return $httpd->configtest;
}

my @flags = qw(SSLUseStapling SSLStaplingReturnResponderErrors
               SSLStaplingFakeTryLater);
my @spans = qw(SSLStaplingResponseTimeSkew SSLStaplingResponderTimeout
               SSLStaplingResponseMaxAge SSLStaplingStandardCacheTimeout
               SSLStaplingErrorCacheTimeout);
my @urls = qw(SSLStaplingForceURL SSLOCSPProxyURL);

# Directives, bad value, and what the message must say is accepted.
my @bad = (
    (map { [\@flags, $_, qr/on.*off/i] } qw(maybe 1 yes oui)),
    (map { [\@spans, $_, qr/second|ms|min/i] } qw(-1 -5s)),
    (map { [['StapleWarmup'], $_, qr/second|ms|min/i] }
        qw(abc -1 -5s 5x 10sec 1e3 0x10 1.5 99999999999999999999 s),
        '"5 s"', '" "'),
    (map { [[qw(StapleMaxAge StapleRevokedRecheck)], $_, qr/off.*10d/i] } qw(abc -1 0 59min 5000d 1y on)),
    (map { [['SSLOCSPProxyURL'], $_, qr{http://host:port}] }
        qw(https://proxy.test/ ldap://proxy.test/ socks5://proxy.test)),
    (map { [['SSLStaplingCache'], "shmcb:$_", qr/parenthes|size|byte/i] }
        'logs/ring(abc)', 'logs/ring(10x)', 'logs/ring(-1)', 'logs/ring(100)',
        'logs/ring(8191)', 'logs/ring(99999999999999999999)', 'logs/ring(8192',
        'logs/ring(', 'logs/ring()', 'logs/ring8192)'),
    (map { [['SSLStaplingCache'], $_, qr/shmcb/] }
        'nosuch', 'nosuch:logs/ring', 'logs/ring(128000)', '" "'),
);

for (@bad) {
    my ($directives, $value, $accepted) = @$_;
    my $bare = $value =~ s/^"|"$//gr;

    for my $directive (@$directives) {
        my ($exit, $said) = check("$directive $value");

        isnt($exit, 0, "$directive $value: is refused");
        like($said, qr/$directive/, '... naming the directive');
        like($said, qr/'\Q$bare\E'/, '... and the value');
        like($said, $accepted, '... and what is accepted');
    }
}

# Without a value (as httpd sees an empty one, too), or with one too many.
for my $directive (@flags, @spans, @urls, 'SSLStaplingCache') {
    for my $line ($directive, "$directive \"\"", "$directive 1 2") {
        my ($exit, $said) = check($line);

        isnt($exit, 0, "$line: is refused");
        like($said, qr/$directive/, '... naming the directive');
    }
}

# Where it does not belong.
$httpd->{conf} = '';
$httpd->{vhosts}[0]{conf} =
    'SSLStaplingCache "shmcb:logs/stapling_cache(128000)"';
$httpd->write_conf;
my ($exit, $said) = $httpd->configtest;
isnt($exit, 0, 'SSLStaplingCache in a virtual host is refused');
like($said, qr/SSLStaplingCache cannot occur within <VirtualHost>/,
     '... with the reason');

# mod_ssl's own check, at the start rather than by httpd -t.
check('SSLUseStapling on');
like($httpd->start_fails, qr/AH01958/,
     'SSLUseStapling on without SSLStaplingCache does not start');

# Values that mod_ssl starts with and that make no sense: a warning says what is
# used instead. (t/132 tries many more.)
my $default = qr/no time between .*; the default is used/;
for ((map { my $d = $_; map { ["$d $_->[0]", $_->[1]] }
            ['abc', $default], ['" "', $default],
            ['60x', qr/; 60 seconds are used/],
            ['1.5', qr/; 1 seconds are used/],
            ['999999999', qr/; ten years are used/] } @spans),
     ['SSLStaplingResponderTimeout 0', $default],
     ['SSLUseStapling off # why', qr/Off is used, and what follows it is ign/],
     ['SSLStaplingForceURL off', qr/'off'.*the certificate names are asked/],
     ['SSLStaplingForceURL https://ocsp.test/', qr/are asked instead/],
     ['SSLStaplingForceURL ocsp.test/x', qr{http://ocsp.test/x is used}],
     ['SSLStaplingForceURL " http://ocsp.test/ "', qr{http://ocsp.test/ is us}],
     ['SSLOCSPProxyURL direct', qr/responders are asked without a proxy/],
     ['SSLOCSPProxyURL proxy.test:3128', qr{http://proxy.test:3128 is used}],
     ['SSLOCSPProxyURL http://u:p@proxy.test/x',
      qr{'http://u:\*\*\*\@proxy.test/x'.*http://u:\*\*\*\@proxy.test is used}]) {
    my ($line, $words) = @$_;
    my ($exit, $said) = check($line);

    is($exit, 0, "$line: is taken") or diag $said;
    like($said, qr/STP0150: .*$words/, '... with a warning');
}

# Values that are fine.
my $ring = 'SSLStaplingCache "shmcb:logs/stapling_cache(128000)"';
for my $line (
    (map { my $d = $_; map { "$d $_" } qw(on off On OFF) } @flags),
    (map { my $d = $_; map { "$d $_" } qw(1 10s 500ms 5min 1h 2d 3600) } @spans),
    'SSLStaplingResponseTimeSkew 0', 'SSLStaplingErrorCacheTimeout 0',
    'SSLStaplingForceURL http://ocsp.test', 'SSLStaplingForceURL http://[::1]/',
    'SSLStaplingForceURL http://ocsp.test:8080/a/b?c=d',
    'SSLOCSPProxyURL http://proxy.test:3128',
    'SSLOCSPProxyURL http://proxy.test:3128/',
    'SSLStaplingForceURL none', 'SSLOCSPProxyURL none') {
    ($exit, $said) = check($ring, $line);
    is($exit, 0, "$line: is taken") or diag $said;
    unlike($said, qr/STP0150/, '... as it is');
}
for my $ok ('shmcb:logs/ring(8192)', 'shmcb:logs/ring', 'shmcb', 'shmcb:',
            'shmcb:/tmp/a(b)c(65536)', 'shmcb:logs/ring(134217728)') {
    ($exit, $said) = check("SSLStaplingCache \"$ok\"");
    is($exit, 0, "SSLStaplingCache $ok: is taken") or diag $said;
}
ok(!-e $httpd->dir . '/logs/ring', 'and httpd -t made no file');

done_testing;
