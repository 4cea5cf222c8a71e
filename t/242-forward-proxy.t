# Licensed under the Apache License, Version 2.0; see LICENSE.

# SSLOCSPProxyURL through two real forward proxies: squid, which is also the
# only one to know the responder's name, and httpd's own mod_proxy. And past a
# squid that has kept an expired response.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Peer;
use Digest::SHA qw(sha1_base64);

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);

# Staple one leaf by GET and one by POST, with the proxy; their targets as
# the responder has seen them.
sub staple_through
{
    my ($name, $proxy_url, $responder_url) = @_;
    my @leaves = ($ca->leaf(name => "get.$name.test", ocsp => $responder_url),
                  $ca->leaf(name => "post.$name.test",
                            ocsp => $responder_url . 'x' x 200));
    my $httpd = Staple::Httpd->new(
        conf   => stapling("SSLOCSPProxyURL $proxy_url"),
        vhosts => [map { { cert => $_ } } @leaves]);

    $responder->tell('reset-counters');
    $httpd->start;
    for my $leaf (@leaves) {
        is(wait_for_staple($httpd, 'good', name => $leaf->{name})->{staple},
           'good', "$leaf->{name}: stapled");
    }
    my %seen = map { $_->{method} => $_ } $responder->log;

    is(join(' ', sort keys %seen), 'GET POST', "$name: one GET, one POST");
    is($seen{$_}{host}, $responder_url =~ s{^http://|/$}{}gr,
       "$name: $_: the responder's own Host") for qw(GET POST);
    unlike($seen{GET}{target}, qr/^http:/,
           "$name: the proxy made a path of the URL");
    ok($httpd->stop, 'httpd stops in good order');
    $httpd->log_ok;
}

# A squid with this line about its cache, or undef: squid 6 wants shared memory
# even where it is alone.
sub squid
{
    my ($cache) = @_;

    return eval { Staple::Peer->start('squid', sub {
        my ($port, $dir) = @_;
        my ($account) = Staple::Httpd::account();

        write_file("$dir/hosts", "127.0.0.1 responder.test\n");
        return ('squid', '-N', '-f', write_file("$dir/squid.conf", <<"END"));
http_port 127.0.0.1:$port
http_access allow all
$cache
hosts_file $dir/hosts
access_log stdio:$dir/access_log
cache_log $dir/cache_log
coredump_dir $dir
pid_filename none
netdb_filename none
pinger_enable off
visible_hostname proxy.test
cache_effective_user $account
shutdown_lifetime 0 seconds
END
    }) };
}

SKIP: {
    skip('no squid (Debian: squid)', 1) if !tool('squid');
    my $squid = squid('cache deny all');

    skip('squid does not start here, see its cache_log', 1) if !$squid;
    my $url = 'http://responder.test:' . $responder->port . '/';

    staple_through('squid', $squid->url, $url);
    my $log;
    ok(wait_for(sub { $log = read_file($squid->dir . '/access_log');
                      $log =~ / GET / && $log =~ / POST / }),
       'squid had both requests');
    like($log, qr{/200 \d+ GET \Q$url\EME\S+ }, '... a GET');
    like($log, qr{/200 \d+ POST \Q$url\Ex{200} }, '... and a POST');
}

# What the cache keeps for an hour has expired already; the responder has a
# current response by the second attempt.
SKIP: {
    skip('no squid (Debian: squid)', 1) if !tool('squid');
    my $squid = squid('cache allow all');

    skip('squid does not start here, see its cache_log', 1) if !$squid;
    my $leaf = $ca->leaf(name => 'kept.test',
                         ocsp => 'http://responder.test:' . $responder->port
                                 . '/');
    my $httpd = Staple::Httpd->new(
        conf   => stapling('SSLOCSPProxyURL ' . $squid->url),
        vhosts => [{ cert => $leaf }]);

    $responder->tell('expired | header Cache-Control: max-age=3600', $leaf);
    $httpd->start;
    ok($httpd->wait_for_log(qr/STP0203: kept\.test.*expired/),
       'an expired response');
    $responder->good($leaf);
    is(wait_for_staple($httpd, 'good', name => 'kept.test', seconds => 30)
           ->{staple}, 'good', 'a current one, past the cache');
    like(read_file($squid->dir . '/access_log'),
         qr{HIT/200 \d+ GET .*\n.*MISS/200 \d+ GET .*\n\z},
         '... which was asked first, and had the expired one');
    ok($httpd->stop, 'httpd stops in good order');
    $httpd->log_ok(qr/STP0302/, qr/STP0203/);
}

SKIP: {
    skip('no mod_proxy_http', 1) if !has_httpd_module('proxy_http');
    my $proxy = Staple::Httpd->new(
        staple => 0, modules => [qw(log_config proxy proxy_http)],
        conf   => "ProxyRequests On\nCustomLog {dir}/logs/access \"%>s %r\"\n");

    $proxy->start;
    staple_through('mod-proxy', 'http://127.0.0.1:' . $proxy->port,
                   $responder->url);
    my $log;
    my $url = quotemeta $responder->url;
    ok(wait_for(sub { $log = read_file($proxy->dir . '/logs/access');
                      $log =~ /GET/ && $log =~ /POST/ }),
       'mod_proxy had both requests');
    like($log, qr{^200 GET ${url}ME\S+ HTTP/1\.1$}m, '... a GET');
    like($log, qr{^200 POST ${url}x{200} HTTP/1\.1$}m, '... and a POST');
    ok($proxy->stop, 'the proxy stops in good order');
    $proxy->log_ok;
}

# A proxy that wants to know who asks: with the password it is passed, and the
# password is nowhere to be read.
SKIP: {
    my @auth = qw(auth_basic authn_core authn_file authz_user);
    skip('no mod_proxy_http or mod_auth_basic', 1)
        if grep { !has_httpd_module($_) } 'proxy_http', @auth;
    my $users = write_file('users', 'jane:{SHA}'
                           . sha1_base64('se:cr@t') . "=\n");
    my $proxy = Staple::Httpd->new(
        staple => 0, modules => [qw(log_config proxy proxy_http), @auth],
        conf   => "ProxyRequests On\nCustomLog {dir}/logs/access \"%>s %u\"\n"
            . "<Proxy *>\nAuthType Basic\nAuthName x\n"
            . "AuthUserFile $users\nRequire valid-user\n</Proxy>\n");
    my $at = '127.0.0.1:' . $proxy->port;
    my $leaf = $ca->leaf(name => 'auth.test', ocsp => $responder->url);
    my $httpd = Staple::Httpd->new(
        conf   => stapling("SSLOCSPProxyURL http://jane:se%3Acr%40t\@$at"),
        vhosts => [{ cert => $leaf }]);

    $proxy->start;
    $httpd->start;
    is(wait_for_staple($httpd, 'good')->{staple}, 'good',
       'stapled through a proxy with a password');
    ok(wait_for(sub { read_file($proxy->dir . '/logs/access') =~ /^200 jane$/m }),
       'which knew who asks');
    my (undef, $said) = $httpd->configtest('-D', 'DUMP_STAPLING');
    like($said, qr{through http://jane:\*\*\*\@$at\n}, 'the preflight masks it');
    unlike($said . read_file($httpd->{error_log}), qr/se(?:%3A|:)cr|c2U6Y3/,
           'the password is neither there nor in the log');
    ok($httpd->stop, 'httpd stops in good order');
    $httpd->log_ok;

    $httpd->{conf} = stapling("SSLOCSPProxyURL http://jane:wrong\@$at");
    $httpd->write_conf;
    unlink $httpd->dir . '/logs/stapling_cache';
    $httpd->start;
    ok(wait_for(sub { read_file($httpd->{error_log}) =~ /STP0203.*407/ }),
       'a wrong password is a 407, which is told');
    ok($httpd->stop, 'httpd stops in good order');
    $httpd->log_ok(qr/STP0302/, qr/STP0203/);
    ok($proxy->stop, 'the proxy stops in good order');
    $proxy->log_ok(qr/AH01617|AH01614/);
}

done_testing;
