# Licensed under the Apache License, Version 2.0; see LICENSE.

# STAPLE_STATUS tells logs, headers and expressions what the request's own
# handshake got: good, revoked, none, or nothing where nobody asked; over
# HTTP/2, after an internal redirect and for later requests of a connection too.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my %leaf = map {
    ($_ => $ca->leaf(name => "$_.test", ocsp => $responder->url));
} qw(good revoked down off);
my $none = $ca->leaf(name => 'none.test');
my $h2 = has_httpd_module('http2');
my $httpd = Staple::Httpd->new(
    modules => [qw(log_config headers), $h2 ? 'http2' : ()],
    conf    => stapling() . <<'CONF' . ($h2 ? "Protocols h2 http/1.1\n" : ''),
LogFormat "%U %{STAPLE_STATUS}e" staple
CustomLog {dir}/logs/access staple
CustomLog {dir}/logs/unstapled "%U" "expr=-z reqenv('STAPLE_STATUS') || reqenv('STAPLE_STATUS') == 'none'"
Header always set X-Staple "%{STAPLE_STATUS}e"
<If "reqenv('STAPLE_STATUS') == 'good'">
    Header always set X-Expr yes
</If>
ErrorDocument 404 /index.html
CONF
    vhosts  => [{ cert => $leaf{good} }, { cert => $leaf{revoked} },
                { cert => $leaf{down} },
                { cert => $leaf{off}, conf => 'SSLUseStapling off' },
                { cert => $none }]);

$responder->tell('revoked', $leaf{revoked});
$responder->tell('http 500', $leaf{down});
$httpd->start;
wait_for_staple($httpd, 'good', name => 'good.test');
wait_for_staple($httpd, 'revoked', name => 'revoked.test');

# curl without --cert-status asks for no staple.
sub get
{
    my ($name, @args) = @_;
    my $port = $httpd->port;
    my ($exit, $out) = run('curl', '-sSi', '--noproxy', '*', '--cacert',
                           $ca->root, '--resolve', "$name:$port:127.0.0.1",
                           @args,
                           "https://$name:$port/index.html");

    return { staple => lc($out =~ /^x-staple: (\S*)/mi ? $1 : ''),
             expr => scalar $out =~ /^x-expr: yes/mi, out => $out };
}

# s_client asks for one, and sends a request.
sub ask
{
    my ($name, $path) = @_;
    my $request = "GET $path HTTP/1.1\r\nHost: $name\r\n\r\n"
        . "GET $path HTTP/1.1\r\nHost: $name\r\nConnection: close\r\n\r\n";
    my $file = write_file('request', $request);
    my ($exit, $out) = run('/bin/sh', '-c',
        '"$1" s_client -quiet -ign_eof -status -connect "$2" '
        . '-servername "$3" < "$0"', $file, tool('openssl'),
        '127.0.0.1:' . $httpd->port, $name);

    return [$out =~ /^X-Staple: (\S*)/mg];
}

is_deeply(ask('good.test', '/one'), ['good', 'good'],
          'good, on each request of the connection, after a redirect');
is_deeply(ask('revoked.test', '/two'), ['revoked', 'revoked'], 'revoked');
is_deeply(ask('down.test', '/three'), ['none', 'none'],
          'asked for and not there');
is_deeply(ask('off.test', '/four'), ['(null)', '(null)'],
          'switched off: mod_ssl asks nobody');
is_deeply(ask('none.test', '/five'), ['(null)', '(null)'],
          'its CA has no responder: that there is no staple is no fault');
is(get('good.test')->{staple}, '(null)', 'nobody asked');

my $got = get('good.test', '--cert-status');
is($got->{staple}, 'good', 'curl --cert-status');
ok($got->{expr}, '... found by an expression');
ok(!get('revoked.test', '--http1.1')->{expr}, '... and only there');
SKIP: {
    skip 'no mod_http2', 2 if !$h2;
    my $over = get('good.test', '--cert-status', '--http2');
    skip 'curl cannot HTTP/2', 2 if $over->{out} !~ m{^HTTP/2}m;
    is($over->{staple}, 'good', 'over HTTP/2');
    ok($over->{expr}, '... found by an expression');
}

ok($httpd->stop, 'httpd stops in good order');
my $log = read_file($httpd->dir . '/logs/access');
like($log, qr{^/one good$}m, 'LogFormat %{STAPLE_STATUS}e');
like($log, qr{^/three none$}m, '... where nothing was stapled');
like($log, qr{^/index\.html -$}m, '... where nobody asked');
my $unstapled = read_file($httpd->dir . '/logs/unstapled');
like($unstapled, qr{^/three$}m, 'a log of those without a staple');
unlike($unstapled, qr{^/one$}m, '... and of no others');
$httpd->log_ok(qr/STP0302/, qr/STP0202: revoked/, qr/STP0203: down/, qr/AH10034|AH02292/);

done_testing;
