# Licensed under the Apache License, Version 2.0; see LICENSE.

# Real responders behind nginx as a caching reverse proxy, as CAs have it. The
# path of a GET survives the way to `openssl ocsp`, %2F and all, and a second
# server is answered from the cache. cfssl's ocspserve (as Debian has it, it
# stumbles over the slash that every path begins with) answers GET with 400:
# POST cures that.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use IO::Socket::INET;
use MIME::Base64;
use Staple::Peer;

plan(skip_all => 'needs nginx and cfssl (Debian: nginx-light golang-cfssl)')
    if !tool('nginx') || !tool('cfssl');

# The request for a leaf as a GET has it in its path.
sub path_of
{
    my ($leaf) = @_;
    my $file = work_dir() . '/request.der';

    run('openssl', 'ocsp', '-issuer', $leaf->{issuer}, '-cert', $leaf->{cert},
        '-no_nonce', '-reqout', $file);
    return '/' . encode_base64(read_file($file), '')
        =~ s{([/+=])}{sprintf '%%%02X', ord $1}ger;
}

# A response signed by cfssl, in base64.
sub sign
{
    my ($ca, $leaf) = @_;
    my ($cert, $key) = $ca->issuer;
    my ($exit, $out) = run('cfssl', 'ocspsign', '-ca', $cert, '-responder',
                           $cert, '-responder-key', $key, '-cert',
                           $leaf->{cert}, '-loglevel', 5);

    return $out =~ /"ocspResponse":"([^"]+)"/ ? $1 : die "cfssl: $out\n";
}

# A CA whose hashes have a slash in base64.
my $ca;
for (1 .. 50) {
    $ca = Staple::CA->new;
    last if path_of($ca->leaf) =~ /%2F/;
}
my $openssl = Staple::Responder->new_openssl($ca);
my $to_cfssl = $ca->leaf(name => 'cfssl.test', ocsp => 'http://localhost/');
my $responses = write_file('responses', sign($ca, $to_cfssl) . "\n");
my $cfssl = Staple::Peer->start('cfssl', sub {
    my ($port) = @_;

    return ('cfssl', 'ocspserve', '-address', '127.0.0.1', '-port', $port,
            '-responses', $responses);
});
my $nginx = Staple::Peer->start('nginx', sub {
    my ($port, $dir) = @_;
    my $user = $> == 0
        ? sprintf('user %s %s;', Staple::Httpd::account()) : '';
    my $servers = join '', map { <<"END" }
    server {
        listen 127.0.0.1:$port;
        server_name $_->[0];
        location / {
            proxy_pass http://127.0.0.1:@{[ $_->[1]->port ]};
            proxy_cache ocsp;
            proxy_cache_valid 200 1m;
        }
    }
END
        ['openssl.test', $openssl], ['localhost', $cfssl];

    return ('nginx', '-p', $dir, '-e', "$dir/error_log", '-c',
            write_file("$dir/nginx.conf", <<"END"));
$user
daemon off;
pid $dir/pid;
error_log $dir/error_log;
events { }
http {
    log_format ours '\$host \$request_method \$upstream_cache_status '
                    '\$status \$request_uri';
    access_log $dir/access_log ours;
    client_body_temp_path $dir/body;
    proxy_temp_path $dir/proxy;
    fastcgi_temp_path $dir/fastcgi;
    uwsgi_temp_path $dir/uwsgi;
    scgi_temp_path $dir/scgi;
    proxy_cache_path $dir/cache keys_zone=ocsp:1m;
$servers
}
END
});

# Any name but localhost belongs to the first server.
my @by_get = map { $ca->leaf(name => "get$_.test", ocsp => $nginx->url) } 1, 2;
my $by_post = { cert => $to_cfssl,
                conf => 'SSLStaplingForceURL http://localhost:'
                        . $nginx->port . '/' };

$openssl->learn(@by_get);
like(path_of($_), qr/%2F/, "$_->{name}: there is a slash in its base64")
    for @by_get;
for my $round ('from the responder', 'from the cache') {
    my $httpd = Staple::Httpd->new(
        conf => stapling(), vhosts => [(map { { cert => $_ } } @by_get),
                                       $by_post]);

    $httpd->start;
    for my $leaf (@by_get, $to_cfssl) {
        my $got = wait_for_staple($httpd, 'good', name => $leaf->{name});

        is($got->{staple}, 'good', "$leaf->{name}: stapled, $round");
        is($got->{serial}, $leaf->{serial}, '... with its own response');
    }
    ok($httpd->stop, 'httpd stops in good order');
    $httpd->log_ok;
}

my @seen = split /\n/, read_file($nginx->dir . '/access_log');
my $host = qr/127\.0\.0\.1/;
for my $leaf (@by_get) {
    my @asked = grep { /\Q${\path_of($leaf)}\E$/ } @seen;

    is(scalar @asked, 2, "$leaf->{name}: asked twice with this very path");
    like($asked[0], qr/^$host GET MISS 200 /, '... the responder first');
    like($asked[1], qr/^$host GET HIT 200 /, '... then the cache');
}
# Debian 12's cfssl takes the slash before the base64 for a part of it.
my @cfssl = grep { /^localhost / } @seen;
diag(join "\n", @seen) if @seen > 8;
if (grep { / GET \S+ 400 / } @cfssl) {
    is(scalar(grep { / GET \S+ 400 / } @cfssl), 2, 'cfssl: GET is refused');
    is(scalar(grep { m{ POST \S+ 200 /$} } @cfssl), 2, '... POST is answered');
    is(scalar @cfssl, 4, 'nothing else was asked');
}
else {
    is(scalar(grep { / GET \S+ 200 / } @cfssl), 2, 'cfssl: GET is answered');
    is(scalar @cfssl, 2, 'nothing else was asked');
}
# Not counted: what a test beside this one may send to a port that was free.
is(scalar(grep { /^$host POST / } @seen), 0, 'openssl: nothing was posted')
    or diag(join "\n", @seen);

done_testing;
