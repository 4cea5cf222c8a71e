# Licensed under the Apache License, Version 2.0; see LICENSE.

# The modules around: whatever order they are loaded in, and whichever are
# missing, mod_staple staples what is its to staple, or says why it does not.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my $leaf = $ca->leaf(ocsp => $responder->url);

# Change the configuration's text once it is written.
sub rewrite
{
    my ($httpd, $change) = @_;
    my $path = $httpd->dir . '/conf/httpd.conf';

    local $_ = read_file($path);
    $change->();
    write_file($path, $_);
}

sub stops_well
{
    my ($httpd, @allowed) = @_;

    ok($httpd->stop, 'httpd stops in good order');
    $httpd->log_ok(@allowed);
}

subtest 'loaded before mod_ssl' => sub {
    my $httpd = Staple::Httpd->new(conf => stapling(),
                                   vhosts => [{ cert => $leaf }]);
    rewrite($httpd, sub { s/^(LoadModule staple_module.*\n)//m; $_ = $1 . $_ });
    $httpd->start;
    is(handshake($httpd)->{staple}, 'good', 'stapled');
    $httpd->graceful;
    is(handshake($httpd)->{staple}, 'good', 'and after a restart');
    stops_well($httpd);
};

subtest 'without mod_ssl' => sub {
    my $httpd = Staple::Httpd->new(conf => stapling());
    plan skip_all => 'mod_ssl is compiled in'
        if read_file($httpd->dir . '/conf/httpd.conf') !~ /^LoadModule ssl_/m;
    rewrite($httpd, sub { s/^LoadModule ssl_module.*\n//m;
                          s/^SSLSessionCache.*\n//m });
    $httpd->start;
    my $said = join "\n", $httpd->staple_lines('warn');
    like($said, qr/STP0113.*mod_ssl is not loaded/, 'the log says so');
    stops_well($httpd, qr/STP0113/);
};

subtest 'MDStapling keeps what it claims' => sub {
    plan skip_all => 'no mod_md here' if !has_httpd_module('md');
    my $httpd = Staple::Httpd->new(
        modules => ['md'], vhosts => [{ cert => $leaf }],
        conf => stapling("MDStoreDir {dir}/md\nMDStapling on"));
    $responder->tell('reset-counters');
    $httpd->start;
    is(wait_for_staple($httpd, 'good', seconds => 30)->{staple}, 'good',
       'stapled by mod_md');
    is(join(' ', grep { $_->{agent} =~ /mod_staple/ } $responder->log), '',
       'and nobody else asked');
    unlike($httpd->error_log, qr/STP0101/, 'there was nothing for mod_staple');

    # The administrator changes sides.
    $httpd->{conf} =~ s/MDStapling on/MDStapling off/;
    $httpd->write_conf;
    $httpd->graceful;
    is(handshake($httpd)->{staple}, 'good', 'MDStapling off: ours, at once');
    like($httpd->error_log, qr/STP0101/, 'as the log says');
    $httpd->{conf} =~ s/MDStapling off/MDStapling on/;
    $httpd->write_conf;
    $httpd->graceful;
    is(wait_for_staple($httpd, 'good')->{staple}, 'good',
       'and back: stapled');
    stops_well($httpd, qr/\[md:/);
};

subtest 'HTTP/2' => sub {
    plan skip_all => 'no mod_http2 here' if !has_httpd_module('http2');
    my $httpd = Staple::Httpd->new(
        modules => ['http2'], vhosts => [{ cert => $leaf }],
        conf => stapling('Protocols h2 http/1.1'));
    $httpd->start;
    wait_for_staple($httpd, 'good');
    my ($exit, $out) = curl($httpd, ca => $ca,
                            args => ['--http2', '-w', '%{http_version}']);
    is($exit, 0, 'curl --http2 --cert-status') or diag($out);
    like($out, qr/hello\n2/, 'the page, by HTTP/2');
    stops_well($httpd);
};

subtest 'what mod_proxy asks for is not ours' => sub {
    plan skip_all => 'no mod_proxy_http here'
        if !has_httpd_module('proxy_http');
    my $back = $ca->leaf(name => 'back.test');    # no responder, no staple
    my $httpd = Staple::Httpd->new(
        ports => 2, modules => ['proxy', 'proxy_http'], conf => stapling(),
        vhosts => [
            { cert => $leaf, conf => "SSLProxyEngine on\n"
              . 'SSLProxyCACertificateFile ' . $ca->root . "\n"
              . "SSLProxyVerify require\nSSLProxyVerifyDepth 3\n"
              . "SSLProxyCheckPeerName off\n"
              . 'ProxyPass / https://127.0.0.1:{port2}/ disablereuse=on' },
            { cert => $back, port => '{port2}' },
        ]);
    $httpd->start;
    wait_for_staple($httpd, 'good');
    my ($exit, $out) = curl($httpd, ca => $ca, args => ['-f']);
    is($exit, 0, 'a page by way of another TLS server') or diag($out);
    like($out, qr/hello/, 'is there');
    like($httpd->error_log, qr/STP0103.*1 because/, 'one has a staple only');
    $httpd->graceful;
    ($exit, $out) = curl($httpd, ca => $ca, args => ['-f']);
    is($exit, 0, 'and after a restart');
    stops_well($httpd);
};

subtest 'two addresses, one certificate' => sub {
    my $httpd = Staple::Httpd->new(
        ports => 2, conf => stapling(),
        vhosts => [{ cert => $leaf }, { cert => $leaf, port => '{port2}' }]);
    $responder->tell('reset-counters');
    $httpd->start;
    is(wait_for_staple($httpd->port($_), 'good')->{staple}, 'good',
       "address $_: stapled") for 1, 2;
    is($responder->count($leaf), 1, 'and asked for once');
    stops_well($httpd);
};

subtest 'SSLStrictSNIVHostCheck' => sub {
    my $httpd = Staple::Httpd->new(
        conf => stapling('SSLStrictSNIVHostCheck on'),
        vhosts => [{ cert => $leaf }, { cert => $ca->leaf(
            name => 'second.test', ocsp => $responder->url) }]);
    $httpd->start;
    is(wait_for_staple($httpd, 'good', name => $_)->{staple}, 'good',
       "$_: stapled") for qw(www.test second.test);
    is(handshake($httpd, name => undef)->{staple}, 'good',
       'without a name: the first one is stapled');
    stops_well($httpd);
};

subtest '<IfModule> and Include' => sub {
    my $httpd = Staple::Httpd->new(
        conf => "Include conf/tls.conf\nIncludeOptional conf/more/*.conf\n");
    write_file($httpd->dir . '/conf/tls.conf', <<"END");
<IfModule ssl_module>
    <IfModule mod_socache_shmcb.c>
        SSLStaplingCache shmcb:logs/stapling_cache(65536)
    </IfModule>
    <IfModule !mod_staple.c>
        SSLUseStapling off
    </IfModule>
    <IfModule mod_staple.c>
        StapleWarmup 2
        Include conf/on.conf
    </IfModule>
</IfModule>
END
    write_file($httpd->dir . '/conf/on.conf', "SSLUseStapling on\n");
    write_file($httpd->dir . '/conf/more/site.conf',
               "<VirtualHost *:" . $httpd->port . ">\nServerName www.test\n"
               . "SSLEngine on\n$leaf->{conf}</VirtualHost>\n");
    $httpd->start;
    is(handshake($httpd)->{staple}, 'good', 'stapled');
    stops_well($httpd);
};

done_testing;
