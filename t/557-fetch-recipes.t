# Licensed under the Apache License, Version 2.0; see LICENSE.

# The recipes of docs/fetch.md: nginx, HAProxy and an httpd that asks nobody
# staple what staplectl fetched, and the deploy hook holds a must-staple
# certificate back until its response exists, for three ACME clients.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Peer;
use Staple::Work qw(build_dir work_dir);

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my $leaf = $ca->leaf(name => 'www.test', ocsp => $responder->url);
my $dir = work_dir() . '/recipes';
my $ctl = build_dir() . '/staplectl/staplectl';
mkdir $dir or die "$dir: $!\n";
my $pem = write_file("$dir/www.pem",
                     read_file($leaf->{chain}) . read_file($leaf->{key}));
chmod 0644, $pem;
chmod 0755, $dir;

is((run($ctl, 'fetch', '--keep-fresh', $dir))[0], 0, 'a response is fetched');
my $der = read_file("$pem.ocsp");

sub staples_it
{
    my ($port, $what) = @_;

    is(unpack('H*', handshake($port, name => 'www.test')->{der} // ''),
       unpack('H*', $der), "$what staples what was fetched, byte for byte");
}

SKIP: {
    skip 'needs nginx (Debian: nginx-light)', 1 if !tool('nginx');
    my $nginx = Staple::Peer->start('nginx', sub {
        my ($port, $home) = @_;
        my $user = $> == 0
            ? sprintf('user %s %s;', Staple::Httpd::account()) : '';

        return ('nginx', '-p', $home, '-e', "$home/error_log", '-c',
                write_file("$home/nginx.conf", <<"END"));
$user
daemon off;
pid $home/pid;
events {}
http {
    access_log off;
    client_body_temp_path $home/body;
    proxy_temp_path $home/proxy;
    fastcgi_temp_path $home/fastcgi;
    uwsgi_temp_path $home/uwsgi;
    scgi_temp_path $home/scgi;
    server {
        listen 127.0.0.1:$port ssl;
        ssl_certificate $pem;
        ssl_certificate_key $pem;
        ssl_stapling on;
        ssl_stapling_file $pem.ocsp;
    }
}
END
    });
    staples_it($nginx->port, 'nginx');
    $nginx->stop;
}

SKIP: {
    skip 'needs haproxy', 1 if !tool('haproxy');
    # What a fetch that was killed has left does not keep it from starting.
    my $left = write_file("$dir/.www.pem.ocsp.wYq3xZ", '');
    my $haproxy = Staple::Peer->start('haproxy', sub {
        my ($port, $home) = @_;

        return ('haproxy', '-db', '-f', write_file("$home/conf", <<"END"));
defaults
    mode http
    timeout client 30s
    timeout server 30s
    timeout connect 30s
frontend tls
    bind 127.0.0.1:$port ssl crt $dir/
    http-request return status 200
END
    });
    staples_it($haproxy->port, 'HAProxy');
    $haproxy->stop;
    unlink $left;
}

# A host without a way out: its certificate names a responder that is not
# there, as seen from it.
my $httpd = Staple::Httpd->new(
    conf => stapling(), vhosts => [{
        cert => $leaf, conf => "StapleResponseFile $pem.ocsp" }]);
my $asked = $responder->count;
$responder->tell('reset');
$httpd->start;
wait_for_staple($httpd, 'good');
staples_it($httpd, 'httpd');
$responder->good;
ok($httpd->stop, 'httpd stops in good order');

# The hook, as each of the clients runs it.
my $hook = "$FindBin::Bin/../docs/examples/staple-deploy";
my $must = $ca->leaf(name => 'must.test', ocsp => $responder->url,
                     must_staple => 1);
my $bin = "$dir/bin";
my $live = "$dir/live/must.test";
mkdir $_ or die "$_: $!\n" for $bin, "$dir/live", $live;
symlink $ctl, "$bin/staplectl" or die "$bin: $!\n";
write_file("$live/fullchain.pem", read_file($must->{chain}));
write_file("$live/privkey.pem", read_file($must->{key}));
my %client = (
    certbot => { env => { RENEWED_LINEAGE => $live }, args => [] },
    'acme.sh' => { env => { Le_Domain => 'must.test',
                            CERT_KEY_PATH => "$live/privkey.pem",
                            CERT_FULLCHAIN_PATH => "$live/fullchain.pem" },
                   args => [] },
    dehydrated => { env => {}, args => ['deploy_cert', 'must.test',
                                        "$live/privkey.pem", "$live/cert.pem",
                                        "$live/fullchain.pem",
                                        "$live/chain.pem", 1] },
);

for my $name (sort keys %client) {
    my $target = "$dir/$name";
    local @ENV{keys %{ $client{$name}{env} }} = values %{ $client{$name}{env} };
    local $ENV{PATH} = "$bin:$ENV{PATH}";
    local $ENV{STAPLE_TARGET} = $target;
    local $ENV{STAPLE_RELOAD} = "touch $target/reloaded";
    local $ENV{STAPLE_WAIT} = '1s';

    $responder->only('unauthorized');
    my ($exit) = run('sh', $hook, @{ $client{$name}{args} });
    isnt($exit, 0, "$name: the hook fails while there is no response");
    ok(!-e "$target/must.test/fullchain.pem" && !-e "$target/reloaded",
       '... and holds the certificate back');
    $responder->good;
    local $ENV{STAPLE_WAIT} = '5m';
    ($exit) = run('sh', $hook, @{ $client{$name}{args} });
    is($exit, 0, "$name: once there is one");
    ok(-e "$target/reloaded", '... the server is reloaded');
    is(read_file("$target/must.test/$_"), read_file("$live/$_"), "... with $_")
        for 'fullchain.pem', 'privkey.pem';
    ok(-s "$target/must.test/response.ocsp", '... and the response');
    ok(!-e "$target/must.test.new", '... nothing is left');
}

# httpd takes the three files; its User may read the response.
my $place = "$dir/certbot/must.test";
is((stat "$place/privkey.pem")[2] & 0777, 0600, 'the key is for its owner');
my $own = Staple::Httpd->new(conf => stapling(), vhosts => [{
    cert => { %$must, chain => "$place/fullchain.pem",
              key => "$place/privkey.pem" },
    conf => "StapleResponseFile $place/response.ocsp" }]);
$responder->tell('reset');
$own->start;
is(handshake($own, name => 'must.test')->{staple}, 'good',
   'the first handshake is stapled from the file');
ok($own->stop, 'httpd stops in good order');
$own->log_ok;

# Cron's PATH has no sbin.
for my $script (glob "$FindBin::Bin/../docs/examples/*") {
    my $text = read_file($script);
    next if $text !~ m{^#!/bin/sh}  || $text !~ /^ *staplectl /m;
    like($text, qr{^PATH=\$PATH:/usr/local/sbin}m, "$script finds staplectl");
}
is((run('sh', $hook, 'startup_hook'))[0], 0,
   "dehydrated's other hooks are passed over");

done_testing();
